"""The report of a measurement: its data, its verdicts, and its files. Nothing here runs a model."""
