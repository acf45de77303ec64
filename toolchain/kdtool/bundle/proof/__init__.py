"""Golden images: made with a bundle, and replayed by `kdtool verify` wherever the bundle arrives."""
