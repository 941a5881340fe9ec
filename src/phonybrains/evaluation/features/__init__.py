"""What turns images into numbers, and where its weights come from."""
