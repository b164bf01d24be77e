"""The sizes of a config that matmuls and splits depend on, and what a padded size costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pydantic import ValidationError

from tinylm_cli.analysis.dtypes import DTYPE_BYTES
from tinylm_cli.analysis.flops import forward_flops
from tinylm_cli.analysis.params import total_params
from tinylm_cli.analysis.tensor_table import tensor_table
from tinylm_cli.config.choices import DEFAULT_DTYPE
from tinylm_cli.config.layer_kinds import layer_pattern
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.reports.lint import Padding


class Dimension(NamedTuple):
    """A size of the model.

    Attributes:
        field: The field that sets it, such as ``d_ff`` or ``layers.kinds.wide.d_ff``.
        size: The size.
        is_split: Whether tensor parallelism splits it.
    """

    field: str
    size: int
    is_split: bool


def kinds_of(config: ModelConfig) -> Iterator[tuple[str, ModelConfig]]:
    """Yield the name of each kind of layers, empty for a config without names, and its config."""
    pattern = layer_pattern(config)
    yield from zip(pattern.names, pattern.kinds, strict=True)


def field_of(config: ModelConfig, kind: str, field: str) -> str:
    """Return the name of a field in the config: below the kind of layers if the kind sets it."""
    own = config.layers.kinds[kind].overrides() if kind else {}
    return f"layers.kinds.{kind}.{field}" if field in own else field


def dimensions(config: ModelConfig) -> tuple[Dimension, ...]:
    """Return the sizes of a config that its large matmuls have, each once."""
    found = [Dimension("vocab_size", config.vocab_size, True), Dimension("d_model", config.d_model, False)]
    for name, kind in kinds_of(config):
        found += [Dimension(field_of(config, name, field), size, True) for field, size in _hidden_sizes(kind)]
    return tuple(dict.fromkeys(found))


def _hidden_sizes(kind: ModelConfig) -> Iterator[tuple[str, int]]:
    """Yield the hidden sizes of the feed-forward networks of a layer, and their fields."""
    feed_forward = kind.feed_forward
    if not kind.block.feed_forward:
        return
    if feed_forward.n_experts is None:
        yield "d_ff", kind.d_ff
        return
    yield ("d_ff" if feed_forward.d_expert is None else "feed_forward.d_expert"), kind.d_expert
    if feed_forward.n_shared_experts and feed_forward.d_shared_expert is not None:
        yield "feed_forward.d_shared_expert", feed_forward.d_shared_expert


def padding(config: ModelConfig, dimension: Dimension, multiple: int) -> Padding | None:
    """Return what a size padded to a multiple costs; None if the config would be invalid."""
    changes = {dimension.field: -(-dimension.size // multiple) * multiple}
    if dimension.field == "d_model" and config.attention.d_head is None and config.attention.kind != "latent":
        changes["attention.d_head"] = config.d_head
    padded = _changed(config, changes)
    if padded is None:
        return None
    flops, more_flops = (forward_flops(each, batch_size=1, seq_len=config.max_len) for each in (config, padded))
    added = total_params(tensor_table(padded)) - total_params(tensor_table(config))
    texts = tuple(f"{field}={value}" for field, value in changes.items())
    return Padding(texts, added, added * DTYPE_BYTES[DEFAULT_DTYPE], more_flops / flops - 1)


def _changed(config: ModelConfig, changes: Mapping[str, int]) -> ModelConfig | None:
    """Return the config with some fields changed; None if it would be invalid."""
    values: dict[str, Any] = config.model_dump(exclude_unset=True)
    for field, value in changes.items():
        node = values
        *blocks, last = field.split(".")
        for block in blocks:
            node = node.setdefault(block, {})
        node[last] = value
    try:
        return ModelConfig.model_validate(values)
    except ValidationError:
        return None
