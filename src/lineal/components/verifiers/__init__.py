"""Verifiers: they judge whether a completion is right, with pass, fail or error."""
