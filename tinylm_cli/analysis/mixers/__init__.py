"""Sequence mixers: what a layer does across positions. One file for each, with its tensors and its costs."""
