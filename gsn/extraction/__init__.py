"""A teacher over all views: batches, price, basis, prompts; and whether maps are of their views."""
