"""What a mobile or web developer receives of a run, and the proof that it works where it arrived."""
