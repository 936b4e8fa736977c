"""GSN: a generalisable radiance field that renders colour and teacher features.

The library knows nothing of stages, DVC, params.yaml or the command line; those live in `pipeline`.
"""
