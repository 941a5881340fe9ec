"""DICOM: objects and files to slices with their facts."""
