"""Playing episodes: many games at once, in lockstep with the player."""
