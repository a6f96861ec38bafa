"""A grid of recipes x seeds: its file, its runs, its table."""
