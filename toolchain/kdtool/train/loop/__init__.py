"""The training loop and its parts: criterion, optimizer, checkpoints, evaluation."""
