"""Fast twins of the readable modules, in Triton."""
