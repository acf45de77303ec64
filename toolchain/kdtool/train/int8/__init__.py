"""Fine-tunes a student on simulated INT8."""
