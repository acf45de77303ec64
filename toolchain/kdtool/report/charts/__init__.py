"""Geometry of the charts on the report page."""
