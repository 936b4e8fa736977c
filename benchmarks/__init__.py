"""Measurements of speed: each script prints one table, with the machine it ran on.

Dated results are in RESULTS.md.
"""
