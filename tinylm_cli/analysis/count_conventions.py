"""Conventions for counting parameters, and the difference of each from counting every stored tensor once."""

from __future__ import annotations

from collections.abc import Iterator

from tinylm_cli.analysis.tensor_table import rotary_pairs, score_corrections
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.reports.params import Convention, Count

_Difference = tuple[Convention, int, str]
"""A convention, its count minus the unique count, and the cause of the difference."""


def counts(config: ModelConfig, *, unique: int, non_embedding: int, active: int) -> tuple[Count, ...]:
    """Return the parameter count by every convention, the unique count first.

    Args:
        config: A validated config.
        unique: Parameters; tied tensors count once.
        non_embedding: Parameters outside the token embedding, learned positions and the LM head.
        active: Parameters that one token uses.

    References:
        Kaplan et al. 2020 (non-embedding parameters), section 2.1, https://arxiv.org/abs/2001.08361;
        Jiang et al. 2024 (active parameters), https://arxiv.org/abs/2401.04088
    """
    head = config.vocab_size * config.d_model if config.tie_weights else 0  # (V, D)
    untied = "with a separate LM head, as without tie_weights" if head else "the LM head is not tied"
    vocabulary = "without token embedding, learned positions and LM head, as scaling laws count"
    routed = "no experts: a token uses all" if active == unique else "without the experts that a token is not routed to"
    differences: tuple[_Difference, ...] = (
        ("unique", 0, "each stored tensor once, tied or not"),
        ("untied", head, untied),
        ("non-embedding", non_embedding - unique, vocabulary),
        ("active", active - unique, routed),
        *_checkpoint(config, head),
    )
    return tuple(Count(name, unique + difference, difference, why) for name, difference, why in differences)


def _checkpoint(config: ModelConfig, head: int) -> Iterator[_Difference]:
    """Yield the counts of checkpoints, which may store buffers, or a tied head twice."""
    layers, corrections = config.n_layers, score_corrections(config)
    if corrections:
        buffers = f"{config.feed_forward.n_experts} corrections of each router, stored but not trained"
        yield "hub", corrections, f"checkpoints: the parameters, and {buffers}"
    else:
        yield "hub", 0, "checkpoints: the parameters alone"
    if head:
        yield "hub-tied-head", corrections + head, "checkpoints that store the tied head again"
    if config.position.kind == "rope" and config.attention.kind == "multi_head":
        pairs = rotary_pairs(config)
        why = f"checkpoints that store rotary frequencies in each layer, {layers} × {pairs}"
        yield "hub-rotary", corrections + layers * pairs, why
    if config.position.kind == "learned":
        why = f"checkpoints that store a causal mask in each layer, {layers} × {config.max_len}²"
        yield "hub-masks", corrections + layers * config.max_len**2, why
