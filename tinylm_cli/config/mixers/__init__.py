"""The blocks of the sequence mixers, one file for each."""
