"""Fine-tuning of a student with simulated INT8."""
