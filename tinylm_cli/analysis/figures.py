"""Every figure of a model that can be named: in an assertion, a budget, a comparison, a target.

One table of names; a figure is computed when it is asked for, by the module that owns its formula.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tinylm_cli.analysis.flops import decode_flops, forward_flops, train_flops
from tinylm_cli.analysis.inference_memory import Serving, inference_memory
from tinylm_cli.analysis.kv_cache import kv_cache_bytes
from tinylm_cli.analysis.params import (
    active_params,
    component_params,
    non_embedding_params,
    total_params,
    weights_bytes,
)
from tinylm_cli.analysis.serving import decoding_step
from tinylm_cli.analysis.tensor_table import COMPONENTS, Component, tensor_table
from tinylm_cli.analysis.training_memory import training_memory
from tinylm_cli.config.amounts import AmountKind
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.reports.figures import AMOUNT_KINDS, Unit
from tinylm_cli.reports.memory import Optimizer, Recompute, TrainingMemory


class Conditions(NamedTuple):
    """What figures that depend on more than the config assume.

    Attributes:
        batch_size: Sequences at once, >= 1.
        seq_len: Tokens in each; the config's max_len when None.
        dtype: What weights, activations and caches are stored in: a key of ``DTYPE_BYTES``.
        optimizer: What updates the weights.
        recompute: What the backward pass computes again.
    """

    batch_size: int = 1
    seq_len: int | None = None
    dtype: str = "bfloat16"
    optimizer: Optimizer = "adamw"
    recompute: Recompute = "none"

    def length(self, config: ModelConfig) -> int:
        """Return the tokens in each sequence."""
        return config.max_len if self.seq_len is None else self.seq_len


class Figure(NamedTuple):
    """A figure that has a name.

    Attributes:
        name: What it is called in JSON and on the command line; says its unit, and after it of what: ``_per_token``.
        unit: What it counts.
        meaning: What it is, in a few words.
        compute: Works it out.
    """

    name: str
    unit: Unit
    meaning: str
    compute: Callable[[ModelConfig, Conditions], int]

    @property
    def kind(self) -> AmountKind:
        """How an amount of it is written."""
        return AMOUNT_KINDS[self.unit]


def _embedding(config: ModelConfig, _: Conditions) -> int:
    table = tensor_table(config)
    return total_params(table) - non_embedding_params(table)


def _component(name: Component) -> Figure:
    meaning = f"parameters of the component {name}"
    return Figure(f"{name}_params", "params", meaning, lambda c, _: component_params(tensor_table(c), name))


def _per_sequence(flops: Callable[..., int]) -> Callable[[ModelConfig, Conditions], int]:
    return lambda config, given: flops(config, batch_size=1, seq_len=given.length(config))


def _per_token(flops: Callable[..., int]) -> Callable[[ModelConfig, Conditions], int]:
    """Return the mean over the tokens of a sequence, rounded to a whole operation."""
    return lambda config, given: round(_per_sequence(flops)(config, given) / given.length(config))


def _kv_cache(config: ModelConfig, given: Conditions) -> int:
    return kv_cache_bytes(config, batch_size=given.batch_size, seq_len=given.length(config), dtype=given.dtype)


def _decode_read(config: ModelConfig, given: Conditions) -> int:
    """Return the weights that one token needs, and the cache of one sequence: what bounds the time of decoding it."""
    return decoding_step(config, Serving(given.dtype), seq_len=given.length(config)).moved_bytes(1)


def training(config: ModelConfig, given: Conditions) -> TrainingMemory:
    """Return what one GPU holds to train the whole model."""
    return training_memory(
        config,
        batch_size=given.batch_size,
        seq_len=given.length(config),
        dtype=given.dtype,
        optimizer=given.optimizer,
        recompute=given.recompute,
    )


def _serve_bytes(config: ModelConfig, given: Conditions) -> int:
    length = given.length(config)
    return inference_memory(config, Serving(given.dtype), batch_size=given.batch_size, seq_len=length).total_bytes


FIGURES: dict[str, Figure] = {
    figure.name: figure
    for figure in (
        Figure(
            "total_params",
            "params",
            "parameters, a tied tensor counted once",
            lambda c, _: total_params(tensor_table(c)),
        ),
        Figure(
            "active_params", "params", "parameters that one token uses", lambda c, _: active_params(tensor_table(c))
        ),
        Figure("embedding_params", "params", "parameters of the vocabulary's tables and learned positions", _embedding),
        Figure(
            "non_embedding_params",
            "params",
            "parameters outside the vocabulary's tables and learned positions",
            lambda c, _: non_embedding_params(tensor_table(c)),
        ),
        *map(_component, COMPONENTS),
        Figure("weights_bytes", "bytes", "the weights", lambda c, given: weights_bytes(tensor_table(c), given.dtype)),
        Figure("kv_cache_bytes", "bytes", "keys and values kept while decoding", _kv_cache),
        Figure(
            "train_bytes_per_gpu",
            "bytes",
            "the most one GPU holds to train the whole model, with AdamW unless told otherwise",
            lambda c, given: training(c, given).peak_bytes,
        ),
        Figure(
            "serve_bytes", "bytes", "weights, keys and values, and the widest pass that reads or decodes", _serve_bytes
        ),
        Figure("forward_flops_per_token", "flops", "a forward pass, for each token", _per_token(forward_flops)),
        Figure("train_flops_per_token", "flops", "a training step, for each token", _per_token(train_flops)),
        Figure(
            "decode_flops_per_token",
            "flops",
            "decoding one more token of a sequence",
            lambda c, given: decode_flops(c, context_len=given.length(c)),
        ),
        Figure(
            "decode_read_bytes_per_token",
            "bytes",
            "read to decode one more token of a sequence: weights once, and what is kept",
            _decode_read,
        ),
    )
}
"""Every figure by name, in the order in which they are shown."""


def figure(name: str, config: ModelConfig, given: Conditions = Conditions()) -> int:  # noqa: B008 - immutable
    """Return a figure of a config by name.

    Raises:
        KeyError: If no figure is called that.
        AnalysisError: If the config cannot do what ``given`` asks for.
    """
    return FIGURES[name].compute(config, given)
