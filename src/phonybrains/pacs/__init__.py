"""A PACS, asked and given images: by DIMSE (C-FIND, C-GET, C-STORE) or by DICOMweb (QIDO, WADO, STOW)."""
