"""Measurement of fidelity, accuracy, latency and memory. Models are used through ``Predictor`` only."""
