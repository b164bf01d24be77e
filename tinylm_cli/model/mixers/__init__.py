"""The sequence mixers other than attention, one file for each."""
