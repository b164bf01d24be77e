"""The tensor table: every tensor of a config by the name the instantiated model gives it.

Layers that repeat are held once, with the range they repeat over, so that a model of 10,000 layers costs what one of 4
does. Everything analytic is a fold over this table. Nothing here is shared with ``tinylm_cli.model``: the two
descriptions of the same architecture are written apart so that comparing them proves something.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Literal, NamedTuple

from tinylm_cli.config.schema import ModelConfig

Component = Literal["token_embedding", "position", "attention", "feed_forward", "norm", "lm_head"]

COMPONENTS: tuple[Component, ...] = ("token_embedding", "position", "attention", "feed_forward", "norm", "lm_head")

TOKEN_EMBEDDING = "embedding.token_embedding.embedding.weight"


class Tensor(NamedTuple):
    """One tensor.

    Attributes:
        name: Name within its section: the full name, or for a layer's tensor what follows ``blocks.{i}.``.
        shape: Its dimensions, as torch has them: a linear map from n to m is (m, n).
        component: The part of the model it belongs to.
        tied_to: Full name of the tensor whose storage it shares, or None for a tensor of its own.
    """

    name: str
    shape: tuple[int, ...]
    component: Component
    tied_to: str | None = None

    @property
    def elements(self) -> int:
        """Elements of the tensor, whether or not the storage is its own."""
        return prod(self.shape)

    @property
    def params(self) -> int:
        """Parameters it adds to the model: its elements, or 0 when tied to another."""
        return 0 if self.tied_to else self.elements


class Section(NamedTuple):
    """Tensors that stand outside the layers (``layers`` is None) or that repeat, alike, in each of ``layers``."""

    tensors: tuple[Tensor, ...]
    layers: range | None = None

    @property
    def repeats(self) -> int:
        """How many times the tensors occur."""
        return 1 if self.layers is None else len(self.layers)

    def full_name(self, tensor: Tensor, layer: int | None = None) -> str:
        """Return the name in the model: ``blocks.3.ln_1.weight``, or ``blocks.{0..5}.ln_1.weight`` for all layers."""
        if self.layers is None:
            return tensor.name
        return f"{self.prefix(layer)}.{tensor.name}"

    def prefix(self, layer: int | None = None) -> str:
        """Return ``blocks.3``, or for all layers ``blocks.{0..5}`` (``blocks.0`` when there is just one)."""
        assert self.layers is not None
        if layer is None and self.repeats == 1:
            layer = self.layers[0]
        return f"blocks.{{{self.layers[0]}..{self.layers[-1]}}}" if layer is None else f"blocks.{layer}"


TensorTable = tuple[Section, ...]


def tensor_table(config: ModelConfig) -> TensorTable:
    """Return the table of ``config``, in the order of ``model.named_parameters(remove_duplicate=False)``.

    The order holds as long as a single section repeats; with several, layers interleave in the model and not here.
    """
    d, v = config.d_model, config.vocab_size
    embedding = [Tensor(TOKEN_EMBEDDING, (v, d), "token_embedding")]
    if config.position.kind == "learned":
        embedding.append(Tensor("embedding.positional_encoding.weight", (config.max_len, d), "position"))
    layer = (
        *_norm("ln_1", config),
        *_attention(config),
        *_norm("ln_2", config),
        *_feed_forward(config),
    )
    head = Tensor("lm_head.weight", (v, d), "lm_head", TOKEN_EMBEDDING if config.tie_weights else None)
    return (
        Section(tuple(embedding)),
        Section(layer, range(config.n_layers)),
        Section((*_norm("ln_f", config), head)),
    )


def expand(table: TensorTable) -> Iterator[tuple[str, Tensor]]:
    """Yield every tensor of the model with its full name, repeated layers written out in order."""
    for section in table:
        for layer in section.layers if section.layers is not None else (None,):
            for tensor in section.tensors:
                yield section.full_name(tensor, layer), tensor


def _linear(name: str, d_in: int, d_out: int, component: Component, *, bias: bool) -> Iterator[Tensor]:
    yield Tensor(f"{name}.weight", (d_out, d_in), component)
    if bias:
        yield Tensor(f"{name}.bias", (d_out,), component)


def _norm(name: str, config: ModelConfig) -> Iterator[Tensor]:
    """LayerNorm has weight and bias (Ba et al. 2016); RMSNorm a weight alone (Zhang and Sennrich 2019)."""
    yield Tensor(f"{name}.weight", (config.d_model,), "norm")
    if config.norm.kind == "layernorm":
        yield Tensor(f"{name}.bias", (config.d_model,), "norm")


def _attention(config: ModelConfig) -> Iterator[Tensor]:
    """Four d_model × d_model maps: the heads' q, k and v side by side, and the output (Vaswani et al. 2017)."""
    d = config.d_model
    for projection in ("q_proj", "k_proj", "v_proj", "o_proj"):
        yield from _linear(f"attention.{projection}", d, d, "attention", bias=config.attention.bias)


def _feed_forward(config: ModelConfig) -> Iterator[Tensor]:
    bias = config.feed_forward.bias
    yield from _linear("feed_forward.up_proj", config.d_model, config.d_ff, "feed_forward", bias=bias)
    yield from _linear("feed_forward.down_proj", config.d_ff, config.d_model, "feed_forward", bias=bias)
