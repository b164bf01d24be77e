"""The blocks of the sequence mixers other than attention, one file for each."""
