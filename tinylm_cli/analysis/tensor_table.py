"""The tensor table: every parameter tensor of a config, under the name that the instantiated model gives it.

Identical layers are listed once, with the set of their indices, so a model of 10,000 layers takes no longer than one of
4. Parameters, bytes and FLOPs are sums over this table. It shares no code with ``tinylm_cli.model``: two independent
descriptions of one architecture make their comparison a proof.

Shapes in comments: V vocab_size, D d_model, H n_heads, G n_kv_heads, K d_head, F d_ff or d_expert, E n_experts;
latent attention has C kv_rank, Q q_rank, N d_nope, R d_rope and K_v d_value.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from heapq import merge
from itertools import repeat
from math import prod
from typing import Literal, NamedTuple, get_args

from tinylm_cli.analysis.layer_kinds import LayerGroup, LayerSet, group_layers
from tinylm_cli.config.layer_kinds import layer_pattern
from tinylm_cli.config.schema import ModelConfig

Component = Literal["token_embedding", "position", "attention", "feed_forward", "router", "experts", "norm", "lm_head"]

COMPONENTS: tuple[Component, ...] = get_args(Component)

PAIR = 2
"""RoPE rotates dimensions in pairs: Su et al. 2021, https://arxiv.org/abs/2104.09864."""

COS_AND_SIN = 2
"""A rotary table holds a cosine and a sine for each rotary frequency."""

TOKEN_EMBEDDING = "embedding.token_embedding.embedding.weight"


class Tensor(NamedTuple):
    """One parameter tensor.

    Attributes:
        name: Name within its section: the full name, or, in a layer, the part after ``blocks.{i}.``.
        shape: Dimensions in torch's order: a linear map from n to m features is (m, n).
        component: The component that owns it.
        tied_to: Full name of the tensor whose storage it shares; None if it is not tied.
        experts_per_token: For stacked experts, (E, ...), the number of experts per token (top_k); None for tensors that
            every token uses.
    """

    name: str
    shape: tuple[int, ...]
    component: Component
    tied_to: str | None = None
    experts_per_token: int | None = None

    @property
    def elements(self) -> int:
        """Number of elements, tied or not."""
        return prod(self.shape)

    @property
    def params(self) -> int:
        """Parameters that it adds to the model: its number of elements, or 0 if it is tied."""
        return 0 if self.tied_to else self.elements

    @property
    def active_elements(self) -> int:
        """Elements used by one token; for stacked experts, only the top_k experts it is routed to."""
        if self.experts_per_token is None:
            return self.elements
        n_experts = self.shape[0]
        return self.elements // n_experts * self.experts_per_token  # one expert's elements × experts per token

    @property
    def active_params(self) -> int:
        """Parameters that one token uses: ``active_elements``, or 0 if the tensor is tied to another."""
        return 0 if self.tied_to else self.active_elements


class Section(NamedTuple):
    """Tensors outside the layers (``layers`` is None), or the tensors that each of ``layers`` has."""

    tensors: tuple[Tensor, ...]
    layers: LayerSet | None = None

    @property
    def repeats(self) -> int:
        """Number of layers with these tensors; 1 outside the layers."""
        return 1 if self.layers is None else len(self.layers)

    def full_name(self, tensor: Tensor, layer: int | None = None) -> str:
        """Return the name in the model: ``blocks.3.ln_1.weight``; for all its layers ``blocks.{0..5}.ln_1.weight``."""
        if self.layers is None:
            return tensor.name
        return f"{self.prefix(layer)}.{tensor.name}"

    def prefix(self, layer: int | None = None) -> str:
        """Return ``blocks.3``; for all its layers ``blocks.{0..5}``, or ``blocks.0`` if there is only one."""
        assert self.layers is not None
        if layer is None:
            layers = self.layers.text()
            return f"blocks.{{{layers}}}" if self.repeats > 1 else f"blocks.{layers}"
        return f"blocks.{layer}"


TensorTable = tuple[Section, ...]


@lru_cache(maxsize=64)
def tensor_table(config: ModelConfig) -> TensorTable:
    """Return the table of ``config``, in the order of ``model.named_parameters(remove_duplicate=False)``."""
    d, v = config.d_model, config.vocab_size
    embedding = [Tensor(TOKEN_EMBEDDING, (v, d), "token_embedding")]  # (V, D)
    if config.position.kind == "learned":
        rows = config.position.offset + config.max_len
        embedding.append(Tensor("embedding.positional_encoding.weight", (rows, d), "position"))  # (offset + max_len, D)
    if config.embedding.norm:
        embedding += _norm("embedding.norm", config, d)  # (D)
    tied_to = TOKEN_EMBEDDING if config.tie_weights else None
    head = [Tensor("lm_head.weight", (v, d), "lm_head", tied_to)]  # (V, D)
    if config.head.bias:
        head.append(Tensor("lm_head.bias", (v,), "lm_head"))  # (V)
    return (
        Section(tuple(embedding)),
        *_layer_sections(group_layers(config, None)),
        Section((*_norm("ln_f", config, d), *head)),  # (D), (V, D)
    )


def _layer_sections(groups: Iterable[LayerGroup]) -> Iterator[Section]:
    """Yield a section for all layers that have the same tensors; windows add none."""
    with_tensors: dict[tuple[Tensor, ...], list[LayerSet]] = {}
    for group in groups:
        with_tensors.setdefault(tuple(_layer(group.config)), []).append(group.layers)
    for tensors, sets in with_tensors.items():
        yield Section(tensors, LayerSet.union(sets))


def _layer(config: ModelConfig) -> Iterator[Tensor]:
    """Yield the tensors of a layer of the kind that ``config`` describes."""
    d, placement = config.d_model, config.norm.placement
    before, after = placement != "post", placement != "pre"
    if before:
        yield from _norm("ln_1", config, d)
    yield from _latent_attention(config) if config.attention.kind == "latent" else _attention(config)
    if after:
        yield from _norm("post_ln_1", config, d)
    if before and not config.block.shared_norm:
        yield from _norm("ln_2", config, d)
    if config.feed_forward.n_experts is not None:
        yield from _experts(config)
    else:
        yield from _feed_forward("feed_forward", config, config.d_ff, "feed_forward")
    if after:
        yield from _norm("post_ln_2", config, d)


def expand(table: TensorTable) -> Iterator[tuple[str, Tensor]]:
    """Yield every tensor of the model with its full name; repeated layers are expanded in order."""
    for section, layer in in_order(table):
        for tensor in section.tensors:
            yield section.full_name(tensor, layer), tensor


def in_order(table: TensorTable) -> Iterator[tuple[Section, int | None]]:
    """Yield each section outside the layers, and the section of each layer with its index, in the model's order."""
    first, *layers, last = table
    yield first, None
    numbered = [zip(section.layers or (), repeat(number)) for number, section in enumerate(layers)]
    yield from ((layers[number], layer) for layer, number in merge(*numbered))
    yield last, None


def score_corrections(config: ModelConfig) -> int:
    """Return the elements of all ``score_correction`` buffers: one per expert of each router, saved but not trained.

    References:
        DeepSeek-AI 2024 (DeepSeek-V3), section 2.1.2, https://arxiv.org/abs/2412.19437
    """
    corrected = (
        len(group.layers) * (group.config.feed_forward.n_experts or 0)  # a buffer (E) in the router of each layer
        for group in group_layers(config, None)
        if group.config.feed_forward.score_correction
    )
    return sum(corrected)


def rotary_frequencies(config: ModelConfig) -> tuple[int, ...]:
    """Return the number of frequencies of each rotary encoding; layers with equal encodings share one."""
    kinds = layer_pattern(config).kinds
    return tuple(pairs for _, pairs in dict.fromkeys((kind.position, rotary_pairs(kind)) for kind in kinds) if pairs)


def rotary_pairs(config: ModelConfig) -> int:
    """Return the number of rotary frequencies: each rotates one pair of a head's dimensions; 0 without RoPE."""
    if config.position.kind != "rope":
        return 0
    if config.attention.kind == "latent":
        return config.attention.d_rope // PAIR  # R / 2
    return int(config.d_head * config.position.rotary_fraction) // PAIR  # rotary_fraction × K / 2


def _linear(name: str, d_in: int, d_out: int, component: Component, *, bias: bool) -> Iterator[Tensor]:
    yield Tensor(f"{name}.weight", (d_out, d_in), component)  # (out, in)
    if bias:
        yield Tensor(f"{name}.bias", (d_out,), component)  # (out)


def _norm(name: str, config: ModelConfig, dim: int) -> Iterator[Tensor]:
    """Yield the tensors of a norm: weight and bias of LayerNorm (Ba et al. 2016), weight of RMSNorm.

    References:
        Zhang and Sennrich 2019 (RMSNorm), https://arxiv.org/abs/1910.07467
    """
    if config.norm.weight:
        yield Tensor(f"{name}.weight", (dim,), "norm")  # (dim)
    if config.norm.has_bias:
        yield Tensor(f"{name}.bias", (dim,), "norm")  # (dim)


def _attention(config: ModelConfig) -> Iterator[Tensor]:
    """Yield the projections to queries, keys and values, and the output projection (Vaswani et al. 2017).

    Grouped-query attention has G < H key/value heads, so the key and value projections are smaller.

    References:
        Ainslie et al. 2023 (grouped queries), https://arxiv.org/abs/2305.13245
    """
    d, attention = config.d_model, config.attention
    d_query, d_kv = config.n_heads * config.d_head, config.n_kv_heads * config.d_head
    if attention.sinks:
        yield Tensor("attention.sinks", (config.n_heads,), "attention")  # (H)
    yield from _linear("attention.q_proj", d, d_query, "attention", bias=attention.bias)  # (H·K, D)
    yield from _linear("attention.k_proj", d, d_kv, "attention", bias=attention.bias)  # (G·K, D)
    yield from _linear("attention.v_proj", d, d_kv, "attention", bias=attention.bias)  # (G·K, D)
    yield from _linear("attention.o_proj", d_query, d, "attention", bias=attention.has_out_bias)  # (D, H·K)
    if attention.qk_norm != "none":
        per_head = attention.qk_norm == "per_head"
        yield from _norm("attention.q_norm", config, config.d_head if per_head else d_query)  # (K) or (H·K)
        yield from _norm("attention.k_norm", config, config.d_head if per_head else d_kv)  # (K) or (G·K)


def _latent_attention(config: ModelConfig) -> Iterator[Tensor]:
    """Yield multi-head latent attention: keys and values are expanded from one compressed vector per token.

    References:
        DeepSeek-AI 2024 (DeepSeek-V2), section 2.1, https://arxiv.org/abs/2405.04434
    """
    d, heads, attention = config.d_model, config.n_heads, config.attention
    d_query = heads * (attention.d_nope + attention.d_rope)
    if attention.q_rank is None:
        yield from _linear("attention.q_proj", d, d_query, "attention", bias=False)  # (H·(N + R), D)
    else:
        yield from _linear("attention.q_a_proj", d, attention.q_rank, "attention", bias=attention.bias)  # (Q, D)
        yield from _norm("attention.q_a_norm", config, attention.q_rank)  # (Q)
        yield from _linear("attention.q_b_proj", attention.q_rank, d_query, "attention", bias=False)  # (H·(N + R), Q)
    d_compressed = attention.kv_rank + attention.d_rope
    yield from _linear("attention.kv_a_proj", d, d_compressed, "attention", bias=attention.bias)  # (C + R, D)
    yield from _norm("attention.kv_a_norm", config, attention.kv_rank)  # (C)
    d_expanded = heads * (attention.d_nope + attention.d_value)
    yield from _linear(
        "attention.kv_b_proj", attention.kv_rank, d_expanded, "attention", bias=False
    )  # (H·(N + K_v), C)
    d_values = heads * attention.d_value
    yield from _linear("attention.o_proj", d_values, d, "attention", bias=attention.has_out_bias)  # (D, H·K_v)


def _feed_forward(name: str, config: ModelConfig, d_hidden: int, component: Component) -> Iterator[Tensor]:
    """Yield the up and down projections (Vaswani et al. 2017), and the gate of a gated unit.

    References:
        Shazeer 2020 (gated units), https://arxiv.org/abs/2002.05202
    """
    d, bias = config.d_model, config.feed_forward.bias
    if config.feed_forward.gated:
        yield from _linear(f"{name}.gate_proj", d, d_hidden, component, bias=bias)  # (F, D)
    yield from _linear(f"{name}.up_proj", d, d_hidden, component, bias=bias)  # (F, D)
    yield from _linear(f"{name}.down_proj", d_hidden, d, component, bias=bias)  # (D, F)


def _experts(config: ModelConfig) -> Iterator[Tensor]:
    """Yield the router, the experts' networks stacked along a first dimension, and the shared experts.

    The shared experts, which every token uses, form one network whose hidden size is the sum of theirs.

    References:
        Shazeer et al. 2017 (experts), https://arxiv.org/abs/1701.06538;
        Dai et al. 2024 (shared experts), https://arxiv.org/abs/2401.06066
    """
    feed_forward = config.feed_forward
    n_experts = feed_forward.n_experts
    assert n_experts is not None
    yield from _linear(
        "feed_forward.router", config.d_model, n_experts, "router", bias=feed_forward.router_bias
    )  # (E, D)
    for tensor in _feed_forward("feed_forward.experts", config, config.d_expert, "experts"):
        yield tensor._replace(shape=(n_experts, *tensor.shape), experts_per_token=feed_forward.top_k)  # (E, F, D), …
    if feed_forward.n_shared_experts:
        d_hidden = feed_forward.n_shared_experts * config.d_expert
        yield from _feed_forward("feed_forward.shared_experts", config, d_hidden, "experts")
