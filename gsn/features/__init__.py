"""Stored feature maps (the only place that imports zarr) and their PCA."""
