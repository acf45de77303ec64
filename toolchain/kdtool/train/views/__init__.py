"""What the network sees in a step: augmented views of images, their order, and batches."""
