"""Training: an image set in, a model folder out."""
