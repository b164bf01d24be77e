"""What a config may be held to, beside what it can do."""

from __future__ import annotations

from tinylm_cli.config.rules.rule import Problem, Rule


def _budget_is_within_reach(seq_len: int | None, max_len: int) -> Problem | None:
    if seq_len is None or seq_len <= max_len:
        return None
    message = f"budget.seq_len {seq_len} is more than max_len {max_len}, the longest sequence the model can read"
    remedy = f"write budget.seq_len: {max_len}, or max_len: {seq_len}"
    return Problem("contradiction", ("budget.seq_len", "max_len"), message, remedy)


RULES = (Rule(("budget.seq_len", "max_len"), _budget_is_within_reach),)
