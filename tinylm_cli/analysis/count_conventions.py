"""The ways people count the parameters of one model, and what sets each apart from counting every tensor once."""

from __future__ import annotations

from collections.abc import Iterator

from tinylm_cli.analysis.tensor_table import rotary_pairs, score_corrections
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.reports.params import Convention, Count


def counts(config: ModelConfig, *, unique: int, non_embedding: int, active: int) -> tuple[Count, ...]:
    """Return every count that a person may meet for this model, that of unique tensors first.

    Args:
        config: What the model is.
        unique: Its parameters, a tied tensor counted once.
        non_embedding: Those outside the token embedding, learned positions and the head.
        active: Those that one token uses.

    References:
        Kaplan et al. 2020 (non-embedding parameters), section 2.1, https://arxiv.org/abs/2001.08361;
        Jiang et al. 2024 (active parameters), https://arxiv.org/abs/2401.04088
    """
    second_table = config.vocab_size * config.d_model if config.tie_weights else 0
    untied = "a head of its own added, as without tie_weights" if second_table else "the head has a table of its own"
    vocabulary = "without the token embedding, learned positions and the head, as scaling laws count"
    routed = "no experts: a token uses all" if active == unique else "without the experts that a token is not sent to"
    differences: tuple[_Difference, ...] = (
        ("unique", 0, "each stored tensor once, a tied one too"),
        ("untied", second_table, untied),
        ("non-embedding", non_embedding - unique, vocabulary),
        ("active", active - unique, routed),
        *_hub(config),
    )
    return tuple(Count(name, unique + difference, difference, why) for name, difference, why in differences)


_Difference = tuple[Convention, int, str]
"""A convention's name, what it adds to the unique count, and why."""


def _hub(config: ModelConfig) -> Iterator[_Difference]:
    """Hubs count what files hold: more than parameters where a program saved tables it could have worked out again."""
    layers, corrections = config.n_layers, score_corrections(config)
    if corrections:
        shifts = f"{config.feed_forward.n_experts} corrections of each router, kept though never trained"
        yield "hub", corrections, f"what files hold: the parameters, and {shifts}"
    else:
        yield "hub", 0, "what files hold: the parameters alone"
    if config.tie_weights:
        table = config.vocab_size * config.d_model
        yield "hub-tied-head", corrections + table, "files in which the tied head is stored again"
    if config.position.kind == "rope" and config.attention.kind == "multi_head":
        pairs = rotary_pairs(config)
        why = f"files in which each layer keeps its rotary frequencies, {layers} × {pairs}"
        yield "hub-rotary", corrections + layers * pairs, why
    if config.position.kind == "learned":
        why = f"files in which each layer keeps its causal mask, {layers} × {config.max_len}²"
        yield "hub-masks", corrections + layers * config.max_len**2, why
