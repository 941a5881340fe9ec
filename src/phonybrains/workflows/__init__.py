"""What joins stages: the only code that may know two of them."""
