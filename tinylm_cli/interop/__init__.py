"""Models of other libraries as tinylm's, and back: configs without torch, weights with it."""
