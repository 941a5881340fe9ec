"""Edits: questions to a trained model, from image set to image set."""
