"""The networks: autoencoder, denoiser, and the conditions they are told."""
