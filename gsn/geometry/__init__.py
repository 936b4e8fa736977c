"""Cameras and rays: the one convention, projection, source views, depths along a ray."""
