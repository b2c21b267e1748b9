"""Training: supervised, by preferences, by process labels, by rewards, over one or several processes."""
