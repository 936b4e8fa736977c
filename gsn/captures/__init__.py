"""Readers of multi-view captures, one per format, and the prepared HDF5 pack."""
