"""Int8 BERT for CPUs and ARM boards: export, quantize, run and measure."""

__version__ = "0.1.0"
