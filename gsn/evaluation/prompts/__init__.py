"""What a person says of an object: strokes, points, rectangles, masks and texts."""
