"""The teacher, and the soft labels that it gives: stored once, or computed in each step."""
