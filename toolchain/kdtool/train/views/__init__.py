"""The input of a training step: augmented views of images, their order, and batches."""
