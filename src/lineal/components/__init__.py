"""The components that a node may `use:`: one per file, found by name in the registry."""
