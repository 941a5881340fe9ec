"""Is it good? Distances from held-out real images, each beside its null."""
