"""The web page of a bundle: its files, its runtime, and the server for `kdtool serve`."""
