"""The text that is printed for one artifact, one round or one prompt."""
