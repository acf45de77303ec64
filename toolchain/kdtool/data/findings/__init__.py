"""Findings of a scan: what can be wrong with photographs, and how it is reported."""
