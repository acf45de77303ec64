"""The report of a run: one self-contained HTML page, and the training curves as pictures."""
