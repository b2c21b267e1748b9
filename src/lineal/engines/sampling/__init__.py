"""Sampling and scoring by transformers, and the protocols that every sampling engine satisfies."""
