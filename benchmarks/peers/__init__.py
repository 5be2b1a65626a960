"""Other ways to run a BERT on a CPU, to compare with."""
