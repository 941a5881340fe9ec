"""Volumes: NIfTI, NRRD, MetaImage, MGH to slices."""
