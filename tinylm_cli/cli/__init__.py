"""The command line: one thin file per command, load → call → render."""
