"""The files that leave a project: checkpoints and rows with their cards, Croissant, OpenLineage."""
