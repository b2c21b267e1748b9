"""Playing episodes: many games at once, in lockstep with what writes the moves."""
