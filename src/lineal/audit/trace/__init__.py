"""The ancestors and descendants of rows and checkpoints: traces, taint, retraction."""
