"""Is it useful? A classifier learnt with and without synthetic images."""
