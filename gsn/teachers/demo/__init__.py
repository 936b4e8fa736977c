"""Two small teachers that ship with their weights, so that the default run needs no download."""
