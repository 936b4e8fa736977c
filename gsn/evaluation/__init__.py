"""Scores of rendered views: image metrics, feature metrics, segmentation, pictures."""
