"""Captures of tabletops that never were: ray traced, in LLFF layout, with ground truth."""
