"""Packs the models of a run for an app, a web page or the Hugging Face Hub."""
