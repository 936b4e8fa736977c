"""Readers of captures: one for each format, and what they share."""
