"""One view per report: which blocks show it, and what a person would want next."""
