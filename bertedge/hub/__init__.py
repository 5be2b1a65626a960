"""Bundles to and from a model hub: ``upload`` with a model card, and ``download`` with a check of every file."""
