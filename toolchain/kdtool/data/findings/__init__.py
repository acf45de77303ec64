"""Findings of a scan: the faults that photographs can have, and how they are reported."""
