"""The networks (from diffusers), the conditions, and the latent diffusion model that joins them."""
