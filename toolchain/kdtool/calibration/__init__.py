"""Ranges of 8 bits: streaming histograms of activations, and the methods that choose a range from one."""
