"""Pictures: PNG, JPEG, TIFF and others to slices."""
