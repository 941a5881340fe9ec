"""What the servers of this package share: where they listen, what a client owes and until when, what may come in."""
