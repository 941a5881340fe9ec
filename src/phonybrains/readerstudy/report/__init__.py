"""The report of a reader study: blocks, built once and rendered as HTML and as PDF."""
