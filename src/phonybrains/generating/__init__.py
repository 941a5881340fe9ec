"""Generating: a model folder in, an image set of synthetic images out."""
