"""One prior, many uses: an image set in, an image set out, changed by what a model knows of heads."""
