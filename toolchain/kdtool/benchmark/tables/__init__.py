"""Tables of measured models, for a terminal."""
