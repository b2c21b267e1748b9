"""Environments: what answers a model that acts. Each is a small class; nothing here knows of models, rows or steps."""
