"""Is it fair? Composition, noise, the worst group, and what was asked for."""
