"""The mathematics of diffusion: torch in, torch out; no files and no networks of its own."""
