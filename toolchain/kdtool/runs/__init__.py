"""Folder of a run: its record, the manifests of its stages, lineage and lock."""
