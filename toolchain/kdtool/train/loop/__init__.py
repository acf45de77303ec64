"""The training loop and its parts: losses to minimize, optimizer, checkpoints, evaluation."""
