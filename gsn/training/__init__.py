"""Batches, losses, and the one loop that both stages run."""
