"""The mathematics of reader studies: numpy arrays in, frozen dataclasses and floats out; no files, no randomness of
its own (a generator is always passed in)."""
