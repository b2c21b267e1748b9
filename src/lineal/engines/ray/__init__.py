"""Sampling and scoring on the workers of a Ray cluster."""
