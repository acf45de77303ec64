"""Calibration: streaming histograms of activations, and methods that choose the INT8 range from one."""
