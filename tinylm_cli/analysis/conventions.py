"""The ways people count the parameters of one model, and what sets each apart from counting every tensor once."""

from __future__ import annotations

from collections.abc import Iterator

from tinylm_cli.analysis.table import Component, TensorTable, rotary_pairs, score_corrections
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.reports.params import Convention, Count

_VOCABULARY: tuple[Component, ...] = ("token_embedding", "position", "lm_head")


def counts(config: ModelConfig, table: TensorTable) -> tuple[Count, ...]:
    """Return every count that a person may meet for this model, that of unique tensors first.

    Args:
        config: What the model is.
        table: Its tensors.

    References:
        Kaplan et al. 2020 (non-embedding parameters), section 2.1, https://arxiv.org/abs/2001.08361;
        Jiang et al. 2024 (active parameters), https://arxiv.org/abs/2401.04088
    """
    unique = sum(section.repeats * tensor.params for section in table for tensor in section.tensors)
    found = [Count("unique", unique, 0, "each stored tensor once, a tied one too")]
    found += [
        Count(name, unique + difference, difference, why)
        for of in (_untied, _non_embedding, _active, _hub)
        for name, difference, why in of(config, table)
    ]
    return tuple(found)


_Counted = Iterator[tuple[Convention, int, str]]
"""Each convention's name, what it adds to the unique count, and why."""


def _untied(config: ModelConfig, _: TensorTable) -> _Counted:
    if config.tie_weights:
        yield "untied", config.vocab_size * config.d_model, "a head of its own added, as without tie_weights"
    else:
        yield "untied", 0, "the head has a table of its own"


def _non_embedding(_: ModelConfig, table: TensorTable) -> _Counted:
    vocabulary = sum(t.params for section in table for t in section.tensors if t.component in _VOCABULARY)
    why = "without the token embedding, learned positions and the head, as scaling laws count"
    yield "non-embedding", -vocabulary, why


def _active(_: ModelConfig, table: TensorTable) -> _Counted:
    idle = sum(section.repeats * (t.params - t.active_params) for section in table for t in section.tensors)
    why = "without the experts that a token is not sent to" if idle else "no experts: a token uses all"
    yield "active", -idle, why


def _hub(config: ModelConfig, _: TensorTable) -> _Counted:
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
