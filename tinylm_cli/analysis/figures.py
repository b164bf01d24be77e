"""The table of figures: quantities of a model, named in assertions, budgets, comparisons and designs."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tinylm_cli.analysis.flops import decode_flops, forward_flops, train_flops
from tinylm_cli.analysis.inference_memory import cache_bytes, inference_memory
from tinylm_cli.analysis.params import (
    active_params,
    component_params,
    non_embedding_params,
    total_params,
    weights_bytes,
)
from tinylm_cli.analysis.roofline import decode_step
from tinylm_cli.analysis.setups import Setups
from tinylm_cli.analysis.tensor_table import COMPONENTS, Component, tensor_table
from tinylm_cli.analysis.training_memory import training_memory
from tinylm_cli.config.amounts import AmountKind
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.reports.figures import AMOUNT_KINDS, Unit


class Figure(NamedTuple):
    """A named quantity of a model.

    Attributes:
        name: Name in JSON and on the command line, including the unit: ``weights_bytes``, ``train_flops_per_token``.
        unit: Unit of the values.
        meaning: Short definition.
        compute: Computes the value from a config and setups.
    """

    name: str
    unit: Unit
    meaning: str
    compute: Callable[[ModelConfig, Setups], int]

    @property
    def kind(self) -> AmountKind:
        """The number format of its values."""
        return AMOUNT_KINDS[self.unit]


def _embedding(config: ModelConfig, _: Setups) -> int:
    table = tensor_table(config)
    return total_params(table) - non_embedding_params(table)


def _component(name: Component) -> Figure:
    meaning = f"parameters of the component {name}"
    return Figure(f"{name}_params", "params", meaning, lambda c, _: component_params(tensor_table(c), name))


def _per_sequence(flops: Callable[..., int]) -> Callable[[ModelConfig, Setups], int]:
    return lambda config, setups: flops(config, batch_size=1, seq_len=setups.training.length(config))


def _per_token(flops: Callable[..., int]) -> Callable[[ModelConfig, Setups], int]:
    """Return the mean over the tokens of a sequence, rounded to an integer."""
    return lambda config, setups: round(_per_sequence(flops)(config, setups) / setups.training.length(config))


def _decode_read(config: ModelConfig, setups: Setups) -> int:
    """Return the weights that one token reads, plus the KV cache of one sequence: they bound its decoding time."""
    return decode_step(config, setups.serving).moved_bytes(1)


FIGURES: dict[str, Figure] = {
    figure.name: figure
    for figure in (
        Figure(
            "total_params",
            "params",
            "parameters, each tied tensor counted once",
            lambda c, _: total_params(tensor_table(c)),
        ),
        Figure(
            "active_params", "params", "parameters that one token uses", lambda c, _: active_params(tensor_table(c))
        ),
        Figure(
            "embedding_params",
            "params",
            "parameters of token embeddings, an untied LM head and learned positions",
            _embedding,
        ),
        Figure(
            "non_embedding_params",
            "params",
            "parameters except token embeddings, an untied LM head and learned positions",
            lambda c, _: non_embedding_params(tensor_table(c)),
        ),
        *map(_component, COMPONENTS),
        Figure(
            "weights_bytes",
            "bytes",
            "weights: parameters and buffers",
            lambda c, setups: weights_bytes(c, setups.training.dtype),
        ),
        Figure(
            "kv_cache_bytes",
            "bytes",
            "KV cache of the whole batch",
            lambda c, setups: cache_bytes(c, setups.serving),
        ),
        Figure(
            "train_bytes_per_gpu",
            "bytes",
            "peak memory of training on one GPU, with AdamW by default",
            lambda c, setups: training_memory(c, setups.training).peak_bytes,
        ),
        Figure(
            "serve_bytes",
            "bytes",
            "memory of serving: weights, KV cache and the working memory of a pass",
            lambda c, setups: inference_memory(c, setups.serving).total_bytes,
        ),
        Figure("forward_flops_per_token", "flops", "forward FLOPs per token", _per_token(forward_flops)),
        Figure("train_flops_per_token", "flops", "forward and backward FLOPs per token", _per_token(train_flops)),
        Figure(
            "decode_flops_per_token",
            "flops",
            "FLOPs of decoding one token of a sequence",
            lambda c, setups: decode_flops(c, context_len=setups.serving.length(c)),
        ),
        Figure(
            "decode_read_bytes_per_token",
            "bytes",
            "bytes read to decode one token of a sequence: weights and KV cache",
            _decode_read,
        ),
    )
}
"""Every figure by name, in display order."""


def figure(name: str, config: ModelConfig, setups: Setups = Setups()) -> int:  # noqa: B008 - immutable
    """Return a figure of a config by name.

    Raises:
        KeyError: If no figure has that name.
        AnalysisError: If a size of ``setups`` is out of range.
    """
    return FIGURES[name].compute(config, setups)
