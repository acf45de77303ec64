"""Turns photographs into prepared data: listing, scan, split, pixels on disk, and the reader of them."""
