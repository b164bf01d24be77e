"""One view per report: the blocks that show it, their order and their text."""
