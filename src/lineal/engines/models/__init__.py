"""Checkpoints on disk and the models that are loaded from them."""
