"""What an image shows, and how sure that is: a diffusion over an attribute given the image."""
