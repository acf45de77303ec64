"""The teacher and its logits: stored once as soft labels, or computed in each step."""
