"""Engines: what can run a bundle."""
