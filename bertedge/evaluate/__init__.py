"""Fidelity, accuracy, latency, memory: everything that is measured, through the Predictor seam only."""
