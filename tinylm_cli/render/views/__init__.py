"""One view per report: which blocks show it, in which order, and what each says."""
