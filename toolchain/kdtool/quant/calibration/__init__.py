"""Calibration: observes activations on training images and computes the ranges of 8 bits."""
