"""Pictures of any format, decoded at full depth: what import, edits, servers and masks read them by."""
