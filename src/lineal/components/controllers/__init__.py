"""Controllers: settings that are artifacts, so that a later round may take its own from them."""
