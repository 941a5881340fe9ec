"""Reports: one list of blocks, rendered as a page that needs nothing else (HTML) and as a PDF."""
