"""The tensor table: every tensor of a config by the name the instantiated model gives it.

Layers that repeat are held once, with the range they repeat over, so that a model of 10,000 layers costs what one of 4
does. Everything analytic is a fold over this table. Nothing here is shared with ``tinylm_cli.model``: the two
descriptions of the same architecture are written apart so that comparing them proves something.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Literal, NamedTuple, get_args

from tinylm_cli.analysis.layer_groups import uniform_ranges
from tinylm_cli.config.schema import ModelConfig

Component = Literal["token_embedding", "position", "attention", "feed_forward", "router", "experts", "norm", "lm_head"]

COMPONENTS: tuple[Component, ...] = get_args(Component)

DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2, "float64": 8}
"""Bytes of one element of a tensor, by torch's name of its dtype."""

HALF_PRECISION = ("bfloat16", "float16")
"""Dtypes in which training usually keeps a float32 master copy of the weights."""

TOKEN_EMBEDDING = "embedding.token_embedding.embedding.weight"


class Tensor(NamedTuple):
    """One tensor.

    Attributes:
        name: Name within its section: the full name, or for a layer's tensor what follows ``blocks.{i}.``.
        shape: Its dimensions, as torch has them: a linear map from n to m is (m, n).
        component: The part of the model it belongs to.
        tied_to: Full name of the tensor whose storage it shares, or None for a tensor of its own.
        per_token: Of the slices along its first dimension, one for each expert, how many a token uses; None for all.
    """

    name: str
    shape: tuple[int, ...]
    component: Component
    tied_to: str | None = None
    per_token: int | None = None

    @property
    def elements(self) -> int:
        """Elements of the tensor, whether or not the storage is its own."""
        return prod(self.shape)

    @property
    def params(self) -> int:
        """Parameters it adds to the model: its elements, or 0 when tied to another."""
        return 0 if self.tied_to else self.elements

    @property
    def active_params(self) -> int:
        """Parameters a token uses on its way through the model: of experts, those it is sent to."""
        return self.params if self.per_token is None else self.params // self.shape[0] * self.per_token


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
    """Return the table of ``config``, in the order of ``model.named_parameters(remove_duplicate=False)``."""
    d, v = config.d_model, config.vocab_size
    embedding = [Tensor(TOKEN_EMBEDDING, (v, d), "token_embedding")]
    if config.position.kind == "learned":
        rows = config.position.offset + config.max_len
        embedding.append(Tensor("embedding.positional_encoding.weight", (rows, d), "position"))
    if config.embedding.norm:
        embedding += _norm("embedding.norm", config, d)
    head = [Tensor("lm_head.weight", (v, d), "lm_head", TOKEN_EMBEDDING if config.tie_weights else None)]
    if config.head.bias:
        head.append(Tensor("lm_head.bias", (v,), "lm_head"))
    return (
        Section(tuple(embedding)),
        *(Section(tuple(_layer(config, layers[0])), layers) for layers in uniform_ranges(config)),
        Section((*_norm("ln_f", config, d), *head)),
    )


def _layer(config: ModelConfig, layer: int) -> Iterator[Tensor]:
    d, placement = config.d_model, config.norm.placement
    before, after = placement != "post", placement != "pre"
    if before:
        yield from _norm("ln_1", config, d)
    yield from _latent_attention(config) if config.attention.kind == "latent" else _attention(config)
    if after:
        yield from _norm("post_ln_1", config, d)
    if before and not config.block.shared_norm:
        yield from _norm("ln_2", config, d)
    if config.has_experts(layer):
        yield from _experts(config)
    else:
        yield from _feed_forward("feed_forward", config, config.d_ff, "feed_forward")
    if after:
        yield from _norm("post_ln_2", config, d)


def expand(table: TensorTable) -> Iterator[tuple[str, Tensor]]:
    """Yield every tensor of the model with its full name, repeated layers written out in order."""
    for section in table:
        for layer in section.layers if section.layers is not None else (None,):
            for tensor in section.tensors:
                yield section.full_name(tensor, layer), tensor


def score_corrections(config: ModelConfig) -> int:
    """Return how many numbers files keep beside parameters: shifts of the experts' scores that are never trained.

    References:
        DeepSeek-AI 2024 (DeepSeek-V3), section 2.1.2, https://arxiv.org/abs/2412.19437
    """
    feed_forward = config.feed_forward
    if feed_forward.n_experts is None or not feed_forward.score_correction:
        return 0
    return feed_forward.n_experts * (config.n_layers - feed_forward.n_dense_layers)


def rotary_pairs(config: ModelConfig) -> int:
    """Return how many pairs of dimensions of each head rotate, each at a frequency of its own; 0 where none does."""
    if config.position.kind != "rope":
        return 0
    if config.attention.kind == "latent":
        return config.attention.d_rope // 2
    return int(config.d_head * config.position.rotary_fraction) // 2


def _linear(name: str, d_in: int, d_out: int, component: Component, *, bias: bool) -> Iterator[Tensor]:
    yield Tensor(f"{name}.weight", (d_out, d_in), component)
    if bias:
        yield Tensor(f"{name}.bias", (d_out,), component)


def _norm(name: str, config: ModelConfig, width: int) -> Iterator[Tensor]:
    """LayerNorm has weight and bias (Ba et al. 2016); RMSNorm a weight alone (Zhang and Sennrich 2019)."""
    if config.norm.weight:
        yield Tensor(f"{name}.weight", (width,), "norm")
    if config.norm.has_bias:
        yield Tensor(f"{name}.bias", (width,), "norm")


def _attention(config: ModelConfig) -> Iterator[Tensor]:
    """Maps to the heads of queries, keys and values, each side by side, and back (Vaswani et al. 2017).

    With fewer heads of keys and values than of queries they are narrower: Ainslie et al. 2023,
    https://arxiv.org/abs/2305.13245.
    """
    d, attention = config.d_model, config.attention
    d_query, d_kv = config.n_heads * config.d_head, config.n_kv_heads * config.d_head
    if attention.sinks:
        yield Tensor("attention.sinks", (config.n_heads,), "attention")
    yield from _linear("attention.q_proj", d, d_query, "attention", bias=attention.bias)
    yield from _linear("attention.k_proj", d, d_kv, "attention", bias=attention.bias)
    yield from _linear("attention.v_proj", d, d_kv, "attention", bias=attention.bias)
    yield from _linear("attention.o_proj", d_query, d, "attention", bias=attention.has_out_bias)
    if attention.qk_norm != "none":
        per_head = attention.qk_norm == "per_head"
        yield from _norm("attention.q_norm", config, config.d_head if per_head else d_query)
        yield from _norm("attention.k_norm", config, config.d_head if per_head else d_kv)


def _latent_attention(config: ModelConfig) -> Iterator[Tensor]:
    """Keys and values out of one small vector per token (DeepSeek-V2 2024, https://arxiv.org/abs/2405.04434)."""
    d, heads, attention = config.d_model, config.n_heads, config.attention
    d_query = heads * (attention.d_nope + attention.d_rope)
    if attention.q_rank is None:
        yield from _linear("attention.q_proj", d, d_query, "attention", bias=False)
    else:
        yield from _linear("attention.q_a_proj", d, attention.q_rank, "attention", bias=attention.bias)
        yield from _norm("attention.q_a_norm", config, attention.q_rank)
        yield from _linear("attention.q_b_proj", attention.q_rank, d_query, "attention", bias=False)
    yield from _linear("attention.kv_a_proj", d, attention.kv_rank + attention.d_rope, "attention", bias=attention.bias)
    yield from _norm("attention.kv_a_norm", config, attention.kv_rank)
    d_up = heads * (attention.d_nope + attention.d_value)
    yield from _linear("attention.kv_b_proj", attention.kv_rank, d_up, "attention", bias=False)
    yield from _linear("attention.o_proj", heads * attention.d_value, d, "attention", bias=attention.has_out_bias)


def _feed_forward(name: str, config: ModelConfig, width: int, component: Component) -> Iterator[Tensor]:
    """Up and down again (Vaswani et al. 2017), and beside up a gate (Shazeer 2020, https://arxiv.org/abs/2002.05202)."""
    d, bias = config.d_model, config.feed_forward.bias
    if config.feed_forward.gated:
        yield from _linear(f"{name}.gate_proj", d, width, component, bias=bias)
    yield from _linear(f"{name}.up_proj", d, width, component, bias=bias)
    yield from _linear(f"{name}.down_proj", width, d, component, bias=bias)


def _experts(config: ModelConfig) -> Iterator[Tensor]:
    """A router, and the experts' networks stacked along a first dimension (Shazeer et al. 2017, arXiv 1701.06538).

    Experts that every token is sent to are one network as wide as all of them (Dai et al. 2024,
    https://arxiv.org/abs/2401.06066).
    """
    feed_forward = config.feed_forward
    n_experts = feed_forward.n_experts
    assert n_experts is not None
    yield from _linear("feed_forward.router", config.d_model, n_experts, "router", bias=feed_forward.router_bias)
    for tensor in _feed_forward("feed_forward.experts", config, config.d_expert, "experts"):
        yield tensor._replace(shape=(n_experts, *tensor.shape), per_token=feed_forward.top_k)
    if feed_forward.n_shared_experts:
        width = feed_forward.n_shared_experts * config.d_expert
        yield from _feed_forward("feed_forward.shared_experts", config, width, "experts")
