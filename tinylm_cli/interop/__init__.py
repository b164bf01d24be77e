"""Configs and weights of other libraries, from files on this machine: nothing is fetched, no code there is run."""
