"""The network: encoder, view and ray transformers, renderer, feature head."""
