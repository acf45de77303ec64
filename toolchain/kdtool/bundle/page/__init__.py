"""Web page of a bundle: its files, its runtime, and the server of `kdtool serve`."""
