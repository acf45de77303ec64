"""Turns photographs into prepared data: lists, scans and splits them, writes their pixels and reads these."""
