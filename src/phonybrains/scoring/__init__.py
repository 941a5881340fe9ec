"""How likely images are under a model: the exact density of their latents."""
