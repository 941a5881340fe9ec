"""Evaluation of an image set against a corpus: is it good, is it new, is it fair, is it useful."""
