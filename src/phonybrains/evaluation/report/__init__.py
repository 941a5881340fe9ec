"""The report of an evaluation, as blocks. What a part has not found is not drawn."""
