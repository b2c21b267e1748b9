"""Programs that a model wrote, each run in a bubblewrap sandbox of its own; their answers are data, never a verdict."""
