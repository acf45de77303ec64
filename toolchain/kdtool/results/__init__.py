"""Measured results and what they prove: records, statistics, measures, claims and their wording."""
