"""Weights of other libraries as a tinylm model's, and back: the one part of this room that needs torch."""
