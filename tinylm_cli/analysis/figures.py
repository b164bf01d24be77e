"""The table of figures: quantities of a model, named in assertions, budgets, comparisons and designs."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tinylm_cli.analysis.flops import decode_flops, forward_flops, train_flops
from tinylm_cli.analysis.inference_memory import cache_bytes, inference_memory
from tinylm_cli.analysis.kv_cache import state_bytes
from tinylm_cli.analysis.params import (
    active_params,
    component_params,
    non_embedding_params,
    total_params,
    weights_bytes,
)
from tinylm_cli.analysis.roofline import decode_step
from tinylm_cli.analysis.setups import Setups
from tinylm_cli.analysis.tensor import COMPONENTS, Component
from tinylm_cli.analysis.tensor_table import TensorTable, tensor_table
from tinylm_cli.analysis.training_memory import training_memory
from tinylm_cli.config.amounts import AmountKind
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.reports.figures import AMOUNT_KINDS, Unit


class Figure(NamedTuple):
    """A named quantity of a model."""

    name: str  # name in JSON and on the command line, including the unit: ``weights_bytes``, ``train_flops_per_token``
    unit: Unit  # unit of the values
    meaning: str  # short definition
    compute: Callable[[ModelConfig, Setups], int]  # computes the value from a config and setups

    @property
    def kind(self) -> AmountKind:
        """The number format of its values."""
        return AMOUNT_KINDS[self.unit]


def _of_table(count: Callable[[TensorTable], int]) -> Callable[[ModelConfig, Setups], int]:
    return lambda config, _: count(tensor_table(config))


def _component(name: Component) -> Figure:
    count = _of_table(lambda table: component_params(table, name))
    return Figure(f"{name}_params", "params", f"parameters of the component {name}", count)


def _embedding(table: TensorTable) -> int:
    return total_params(table) - non_embedding_params(table)


def _per_token(flops: Callable[..., int]) -> Callable[[ModelConfig, Setups], int]:
    """Return the mean over the tokens of a sequence, rounded to an integer."""

    def mean(config: ModelConfig, setups: Setups) -> int:
        seq_len = setups.training.length(config)
        return round(flops(config, batch_size=1, seq_len=seq_len) / seq_len)

    return mean


def _weights(config: ModelConfig, setups: Setups) -> int:
    return weights_bytes(config, setups.training.dtype)


def _cache(config: ModelConfig, setups: Setups) -> int:
    return cache_bytes(config, setups.serving)


def _states(config: ModelConfig, setups: Setups) -> int:
    return setups.serving.batch_size * state_bytes(config, setups.serving.resolved(config).kv_cache_dtype)


def _train(config: ModelConfig, setups: Setups) -> int:
    return training_memory(config, setups.training).peak_bytes


def _serve(config: ModelConfig, setups: Setups) -> int:
    return inference_memory(config, setups.serving).total_bytes


def _decode(config: ModelConfig, setups: Setups) -> int:
    if not config.has_lm_head:
        return 0
    return decode_flops(config, context_len=setups.serving.length(config))


def _decode_read(config: ModelConfig, setups: Setups) -> int:
    """Return the weights that one token reads, plus the KV cache of one sequence: they bound its decoding time."""
    if not config.has_lm_head:
        return 0
    return decode_step(config, setups.serving).moved_bytes(1)


_VOCABULARY = "token and per-layer embeddings, an untied LM head and learned positions"

FIGURES: dict[str, Figure] = {
    figure.name: figure
    for figure in (
        Figure("total_params", "params", "parameters, each tied tensor counted once", _of_table(total_params)),
        Figure("active_params", "params", "parameters that one token uses", _of_table(active_params)),
        Figure("embedding_params", "params", f"parameters of {_VOCABULARY}", _of_table(_embedding)),
        Figure("non_embedding_params", "params", f"parameters except {_VOCABULARY}", _of_table(non_embedding_params)),
        *map(_component, COMPONENTS),
        Figure("weights_bytes", "bytes", "weights: parameters and buffers", _weights),
        Figure("kv_cache_bytes", "bytes", "KV cache and states of constant size, summed over the batch", _cache),
        Figure("state_bytes", "bytes", "states of constant size, a part of kv_cache_bytes", _states),
        Figure("train_bytes_per_gpu", "bytes", "peak memory of training on one GPU, with AdamW by default", _train),
        Figure("serve_bytes", "bytes", "memory to serve: weights, KV cache and the working memory of a pass", _serve),
        Figure("forward_flops_per_token", "flops", "forward FLOPs per token", _per_token(forward_flops)),
        Figure("train_flops_per_token", "flops", "forward and backward FLOPs per token", _per_token(train_flops)),
        Figure("decode_flops_per_token", "flops", "FLOPs of decoding one token of a sequence", _decode),
        Figure(
            "decode_read_bytes_per_token",
            "bytes",
            "bytes moved to decode one token of a sequence: weights read, KV cache read, states read and written",
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
