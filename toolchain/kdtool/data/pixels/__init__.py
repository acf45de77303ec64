"""Pixels of training photographs: decoded on demand, or whole photographs at a bounded size."""
