"""Colours by name, as linear RGB."""

from gsn.captures.synthetic.scene import Vector

# sRGB, as they look on a screen.
NAMED = {
    "red": (0.78, 0.13, 0.12),
    "orange": (0.90, 0.47, 0.10),
    "yellow": (0.92, 0.77, 0.18),
    "green": (0.20, 0.52, 0.22),
    "turquoise": (0.16, 0.65, 0.64),
    "blue": (0.15, 0.30, 0.70),
    "purple": (0.46, 0.22, 0.58),
    "pink": (0.90, 0.50, 0.62),
    "brown": (0.42, 0.26, 0.16),
    "white": (0.90, 0.89, 0.86),
    "black": (0.11, 0.11, 0.12),
    "grey": (0.50, 0.50, 0.51),
}
LIGHT = ((0.93, 0.91, 0.86), (0.91, 0.84, 0.70))  # second colours beside dark main ones
DARK = ((0.13, 0.12, 0.13), (0.22, 0.15, 0.11), (0.14, 0.17, 0.28))  # beside light main ones


def linear(srgb: Vector) -> Vector:
    """Undo the sRGB transfer curve (IEC 61966-2-1)."""
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in srgb)
    return r, g, b


def luminance(colour: Vector) -> float:
    """Return the brightness of a linear colour (Rec. 709 weights)."""
    return 0.2126 * colour[0] + 0.7152 * colour[1] + 0.0722 * colour[2]
