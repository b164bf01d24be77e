"""The ways people count the parameters of one model, and what sets each apart from counting every tensor once."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tinylm_cli.analysis.table import Component, TensorTable
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
        for name, of in _CONVENTIONS.items()
        for difference, why in of(config, table)
    ]
    return tuple(found)


def _untied(config: ModelConfig, _: TensorTable) -> Iterator[tuple[int, str]]:
    if config.tie_weights:
        yield config.vocab_size * config.d_model, "a head of its own added, as without tie_weights"
    else:
        yield 0, "the head has a table of its own"


def _non_embedding(_: ModelConfig, table: TensorTable) -> Iterator[tuple[int, str]]:
    vocabulary = sum(t.params for section in table for t in section.tensors if t.component in _VOCABULARY)
    yield -vocabulary, "without the token embedding, learned positions and the head, as scaling laws count"


def _active(_: ModelConfig, table: TensorTable) -> Iterator[tuple[int, str]]:
    idle = sum(section.repeats * (t.params - t.active_params) for section in table for t in section.tensors)
    yield -idle, "without the experts that a token is not sent to" if idle else "no experts: a token uses all"


def _hub(config: ModelConfig, _: TensorTable) -> Iterator[tuple[int, str]]:
    """Hubs count what files hold, which may be more than parameters."""
    yield 0, "what files hold, where that is parameters alone"
    if config.tie_weights:
        yield config.vocab_size * config.d_model, "what files hold, where the tied head is stored again"
    if config.position.kind == "rope" and config.attention.kind == "multi_head":
        pairs = int(config.d_head * config.position.rotary_fraction) // 2
        yield config.n_layers * pairs, "what files hold, where each layer keeps its rotary frequencies"
    if config.position.kind == "learned":
        yield config.n_layers * config.max_len**2, "what files hold, where each layer keeps its causal mask"


_CONVENTIONS: dict[Convention, Callable[[ModelConfig, TensorTable], Iterator[tuple[int, str]]]] = {
    "untied": _untied,
    "non-embedding": _non_embedding,
    "active": _active,
    "hub": _hub,
}
