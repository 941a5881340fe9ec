"""Is it new? The search for repeated training images and people."""
