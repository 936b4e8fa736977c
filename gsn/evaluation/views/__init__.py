"""What each method shows of a view: rendered by the model, or made without its feature head."""
