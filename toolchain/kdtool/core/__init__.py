"""Base of every other folder: errors, durable files, preprocessing, the record in a model file."""
