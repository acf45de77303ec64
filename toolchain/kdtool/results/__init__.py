"""What was measured and what it proves: results, statistics, measures, claims and their wording."""
