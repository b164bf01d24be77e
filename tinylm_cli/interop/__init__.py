"""Configs of other tools, read from files on this machine: nothing is fetched, and no code beside them is run."""
