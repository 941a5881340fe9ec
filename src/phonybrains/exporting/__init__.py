"""An image set to the formats that others read: DICOM, NIfTI, PNG, BIDS, Croissant."""
