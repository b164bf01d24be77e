"""Closed-form costs of a config: the tensor table, and sums over it. Never imports torch."""
