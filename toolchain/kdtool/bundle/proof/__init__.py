"""Golden images: made with a bundle, and checked by `kdtool verify` on any machine."""
