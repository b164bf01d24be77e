"""The tensor table: every parameter tensor of a config, under the name that the instantiated model gives it.

Identical layers are listed once, with the set of their indices, so a model of 10,000 layers takes no longer than one of
4. Parameters, bytes and FLOPs are sums over this table. It shares no code with ``tinylm_cli.model``: each checks the
other.

Shapes in comments: V vocab_size, C n_codebooks, L n_labels, D d_model, K d_head, R d_rope.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from heapq import merge
from itertools import repeat
from typing import NamedTuple

from tinylm_cli.analysis.altup import altup_layer, stream_projections
from tinylm_cli.analysis.feed_forward import feed_forward, network
from tinylm_cli.analysis.layer_kinds import LayerGroup, LayerSet, group_layers
from tinylm_cli.analysis.mixers import mixer, mixer_of
from tinylm_cli.analysis.tensor import Component, Tensor, linear, norm
from tinylm_cli.config.layer_kinds import layer_pattern, mtp_layer, shared_blocks
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import AnalysisError

PAIR = 2
"""RoPE rotates dimensions in pairs: Su et al. 2021, https://arxiv.org/abs/2104.09864."""

COS_AND_SIN = 2
"""A rotary table holds a cosine and a sine for each rotary frequency."""

EMBEDDING_AND_HIDDEN = 2
"""The projection of an MTP module reads an embedding and a hidden state, of d_model elements each."""

READ_AND_WRITE = 2
"""A sub-layer reads the copies of the residual stream with one set of weights, and writes to them with another."""

TOKEN_EMBEDDING = "embedding.token_embedding.embedding.weight"


class Section(NamedTuple):
    """Tensors outside the layers, or those that each of ``layers`` or of ``n_mtp_layers`` MTP modules has.

    Attributes:
        tensors: The tensors of one layer or module, or those outside.
        layers: The layers that have them, or None.
        n_mtp_layers: Number of multi-token prediction modules that have them; 0 for all other sections.
        shared_block: Index of the transformer block that all ``layers`` share, whose tensors exist once; None for all
            other sections.
    """

    tensors: tuple[Tensor, ...]
    layers: LayerSet | None = None
    n_mtp_layers: int = 0
    shared_block: int | None = None

    @property
    def repeats(self) -> int:
        """How often these tensors exist: once in each layer or module; 1 outside of them and if layers share them."""
        if self.layers is None or self.shared_block is not None:
            return self.n_mtp_layers or 1
        return len(self.layers)

    @property
    def is_of_each_layer(self) -> bool:
        """Whether each of ``layers`` has tensors of its own."""
        return self.layers is not None and self.shared_block is None

    @property
    def is_repeated(self) -> bool:
        """Whether these are the tensors of a layer or of a module, whose number may be above 1."""
        return self.layers is not None or self.n_mtp_layers > 0

    def component(self, tensor: Tensor) -> Component:
        """Return the component that counts a tensor: ``mtp`` for all of an MTP module, else its own."""
        return "mtp" if self.n_mtp_layers else tensor.component

    def full_name(self, tensor: Tensor, index: int | None = None) -> str:
        """Return the name in the model: ``blocks.3.ln_1.weight``; for all its layers ``blocks.{0..5}.ln_1.weight``."""
        return f"{self.prefix(index)}.{tensor.name}" if self.is_repeated else tensor.name

    def prefix(self, index: int | None = None) -> str:
        """Return ``blocks.3``, or ``mtp.0``; for all its layers ``blocks.{0..5}``, or ``blocks.0`` if it is one."""
        if self.n_mtp_layers:
            all_modules = f"{{0..{self.n_mtp_layers - 1}}}" if self.n_mtp_layers > 1 else "0"
            return f"mtp.{all_modules if index is None else index}"
        if self.shared_block is not None:
            return f"shared_blocks.{self.shared_block}"
        assert self.layers is not None
        return layers_prefix(self.layers) if index is None else f"blocks.{index}"


def layers_prefix(layers: LayerSet) -> str:
    """Return the name of layers in the model: ``blocks.{0..5}``, or ``blocks.0`` if there is only one."""
    return f"blocks.{{{layers.text()}}}" if len(layers) > 1 else f"blocks.{layers.text()}"


TensorTable = tuple[Section, ...]


@lru_cache(maxsize=64)
def tensor_table(config: ModelConfig) -> TensorTable:
    """Return the table of ``config``, in the order of ``model.named_parameters(remove_duplicate=False)``."""
    d = config.d_model
    embedding = [Tensor(TOKEN_EMBEDDING, (config.embedding_rows, d), "token_embedding")]  # (C·V, D)
    if config.position.kind == "learned":
        rows = config.position.offset + config.max_len
        embedding.append(Tensor("embedding.positional_encoding.weight", (rows, d), "position"))  # (offset + max_len, D)
    if config.embedding.norm:
        embedding += norm("embedding.norm", config, d)  # (D)
    embedding += _per_layer_embedding(config)
    embedding += stream_projections("embedding.altup", config)  # n - 1 × (D, D)
    return (
        Section(tuple(embedding)),
        *_shared_blocks(config),
        *_layer_sections(group_layers(config, None)),
        Section(
            (
                *_stream_reader("hyper_head", config, 1),
                *stream_projections("altup_head", config),  # n - 1 × (D, D)
                *(norm("ln_f", config, d) if config.norm.is_final else ()),  # (D)
                *_head(config),  # (C·V, D)
            )
        ),
        *_mtp_sections(config),
    )


def _mtp_sections(config: ModelConfig) -> Iterator[Section]:
    """Yield the tensors of the multi-token prediction modules, which share the embedding and the LM head of the model.

    References:
        DeepSeek-AI 2024 (DeepSeek-V3), section 2.2, https://arxiv.org/abs/2412.19437
    """
    d, n_mtp_layers = config.d_model, config.head.n_mtp_layers
    if n_mtp_layers:
        layer = (each._replace(name=f"block.{each.name}") for each in _layer(mtp_layer(config)))
        tensors = (
            *norm("enorm", config, d),  # (D)
            *norm("hnorm", config, d),  # (D)
            *linear("eh_proj", EMBEDDING_AND_HIDDEN * d, d, "mtp", bias=False),  # (D, 2D)
            *layer,
            *(norm("ln_f", config, d) if config.norm.is_final else ()),  # (D)
        )
        yield Section(tensors, n_mtp_layers=n_mtp_layers)


def _per_layer_embedding(config: ModelConfig) -> Iterator[Tensor]:
    """Yield the table and the projection that give each of N layers an input of P dimensions, and their norm."""
    d_per_layer = config.embedding.d_per_layer
    if d_per_layer is not None:
        d_all, name = config.n_layers * d_per_layer, "embedding.per_layer"
        rows = config.per_layer_rows
        yield Tensor(f"{name}.table.weight", (rows, d_all), "per_layer_embedding")  # (rows, n_layers·P)
        yield from linear(f"{name}.projection", config.d_model, d_all, "per_layer_input", bias=False)  # (n_layers·P, D)
        yield from norm(f"{name}.norm", config, d_per_layer)  # (P)


def _head(config: ModelConfig) -> Iterator[Tensor]:
    """Yield the tensors of the LM head, or of the scores of the labels, which transformers names so.

    References:
        Devlin et al. 2018 (BERT, the dense layer before the head), https://arxiv.org/abs/1810.04805
    """
    d, settings = config.d_model, config.head
    if settings.dense:
        component: Component = "lm_head" if settings.kind == "lm" else "score"
        yield from linear("head_transform.dense", d, d, component, bias=settings.dense_bias)  # (D, D)
        yield from norm("head_transform.norm", config, d)  # (D)
    if settings.kind == "lm":
        tied_to = TOKEN_EMBEDDING if config.tie_weights else None
        yield Tensor("lm_head.weight", (config.embedding_rows, d), "lm_head", tied_to)  # (C·V, D)
        if settings.bias:
            yield Tensor("lm_head.bias", (config.embedding_rows,), "lm_head")  # (C·V)
    elif settings.kind != "none":
        yield from linear("score", d, settings.n_labels, "score", bias=settings.bias)  # (L, D)


def _shared_blocks(config: ModelConfig) -> Iterator[Section]:
    """Yield the tensors of each transformer block that several layers share, which reads their input and an embedding.

    References:
        Glorioso et al. 2024 (Zamba), section 2, https://arxiv.org/abs/2405.16712
    """
    groups = group_layers(config, None)
    for index, (name, kind) in enumerate(shared_blocks(config).items()):
        users = (
            each.layers
            for each in groups
            if each.config.block.has_shared_block and each.config.block.shared_block == name
        )
        tensors = [
            *norm("ln_1", kind, kind.d_attention_input),  # (2D)
            *mixer("attention").tensors(kind),
            *(_feed_forward_part(kind) if kind.block.feed_forward else ()),
        ]
        yield Section(tuple(tensors), LayerSet.union(users), shared_block=index)


def _feed_forward_part(config: ModelConfig) -> Iterator[Tensor]:
    """Yield the tensors of the feed-forward network of a shared block, and of the norm before it."""
    yield from norm("ln_2", config, config.d_model)  # (D)
    yield from network("feed_forward", config, config.d_ff, "feed_forward")


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
    has_feed_forward = config.block.feed_forward and not config.block.has_shared_block
    for number, has_addition in ((1, config.block.has_mixer), (2, has_feed_forward)):
        if config.block.skip_weight and has_addition:
            yield Tensor(f"skip_weight_{number}", (d,), "residual")  # (D)
    before, after = config.norm.precedes_sublayers, placement != "pre"
    yield from altup_layer(config)
    if config.block.has_mixer:
        yield from _stream_reader("hyper_1", config, READ_AND_WRITE)
        if before and config.block.mixer_norm:
            yield from _norm_before("ln_1", config, config.block.mixer_norm_gate_rank)
        yield from mixer_of(config).tensors(config)
        if after:
            yield from norm("post_ln_1", config, d)
        yield from _laurel(config)
    if has_feed_forward:
        yield from _stream_reader("hyper_2", config, READ_AND_WRITE)
        if before and not config.block.shared_norm:
            yield from _norm_before("ln_2", config, config.block.feed_forward_norm_gate_rank)
        yield from feed_forward(config)
        if after or config.feed_forward.out_norm:
            yield from norm("post_ln_2", config, d)
    d_per_layer = config.embedding.d_per_layer
    if d_per_layer is not None:
        if config.block.altup_streams is not None:
            yield Tensor("per_layer_input.scale", (d,), "per_layer_input")  # (D)
        yield from linear("per_layer_input.gate", d, d_per_layer, "per_layer_input", bias=False)  # (P, D)
        yield from linear("per_layer_input.projection", d_per_layer, d, "per_layer_input", bias=False)  # (D, P)
        yield from norm("per_layer_input.norm", config, d)  # (D)


def _laurel(config: ModelConfig) -> Iterator[Tensor]:
    """Yield the tensors of the learned residual of rank R, if any.

    References:
        Menghani et al. 2024 (LAuReL), section 2, https://arxiv.org/abs/2411.07501
    """
    rank = config.block.laurel_rank
    if rank is not None:
        yield from linear("laurel.down", config.d_model, rank, "laurel", bias=False)  # (R, D)
        yield from linear("laurel.up", rank, config.d_model, "laurel", bias=False)  # (D, R)
        yield from norm("laurel.norm", config, config.d_model)  # (D)


def _stream_reader(name: str, config: ModelConfig, n_sets: int) -> Iterator[Tensor]:
    """Yield the tensors of a hyper-connection, which reads n copies of the residual stream with ``n_sets`` of weights.

    References:
        Zhu et al. 2024 (hyper-connections), https://arxiv.org/abs/2409.19606
    """
    n = config.block.hyper_streams
    if n is not None:
        component: Component = "hyper_connections"
        yield Tensor(f"{name}.scale", (n_sets,), component)  # (sets)
        yield Tensor(f"{name}.base", (n_sets * n,), component)  # (sets · n)
        yield from linear(f"{name}.proj", n * config.d_model, n_sets * n, component, bias=False)  # (sets · n, n·D)


def _norm_before(name: str, config: ModelConfig, gate_rank: int | None) -> Iterator[Tensor]:
    """Yield the tensors of the norm before a sub-layer, and of its gate of rank R, if any."""
    d = config.d_model
    if gate_rank is None:
        yield from norm(name, config, d)  # (D)
        return
    yield from norm(f"{name}.norm", config, d)  # (D)
    yield from linear(f"{name}.down", d, gate_rank, "norm", bias=False)  # (R, D)
    yield from linear(f"{name}.up", gate_rank, d, "norm", bias=False)  # (D, R)


def expand(table: TensorTable) -> Iterator[tuple[str, Tensor]]:
    """Yield every tensor of the model with its full name; repeated layers are expanded in order."""
    for section, index in in_order(table):
        for tensor in section.tensors:
            yield section.full_name(tensor, index), tensor


def in_order(table: TensorTable) -> Iterator[tuple[Section, int | None]]:
    """Yield each section of the model in order; sections of layers and MTP modules with their index."""
    layers = [section for section in table if section.is_of_each_layer]
    first, last, *modules = (section for section in table if section.layers is None)
    yield first, None
    yield from ((section, None) for section in table if section.shared_block is not None)
    numbered = [zip(section.layers or (), repeat(number)) for number, section in enumerate(layers)]
    yield from ((layers[number], layer) for layer, number in merge(*numbered))
    yield last, None
    yield from ((section, index) for section in modules for index in range(section.n_mtp_layers))


SCORE_CORRECTION = "feed_forward.router.score_correction"
LAYER_SCALAR = "layer_scalar.value"
LOW_STATE = "loop.low_init"


@lru_cache(maxsize=64)
def saved_buffers(config: ModelConfig) -> TensorTable:
    """Return the tensors that are saved with the parameters, but not trained.

    References:
        DeepSeek-AI 2024 (DeepSeek-V3, corrections of scores), section 2.1.2, https://arxiv.org/abs/2412.19437
        Wang et al. 2025 (the first state of a low-level module), section 2, https://arxiv.org/abs/2506.21734
    """
    sections = [Section(tuple(_buffers(group.config)), group.layers) for group in group_layers(config, None)]
    if config.head.n_mtp_layers:
        tensors = tuple(each._replace(name=f"block.{each.name}") for each in _buffers(mtp_layer(config)))
        sections.append(Section(tensors, n_mtp_layers=config.head.n_mtp_layers))
    if config.loop.n_low_layers is not None:
        sections.append(Section((Tensor(LOW_STATE, (config.d_model,), "residual"),)))  # (D)
    return tuple(section for section in sections if section.tensors)


def _buffers(config: ModelConfig) -> Iterator[Tensor]:
    """Yield the buffers of a layer of the kind that ``config`` describes."""
    if config.feed_forward.score_correction:
        yield Tensor(SCORE_CORRECTION, (config.feed_forward.n_scores,), "router")  # (E), one for each score
    if config.block.layer_scalar:
        yield Tensor(LAYER_SCALAR, (1,), "residual")


def buffer_elements(config: ModelConfig, name: str) -> int:
    """Return the elements of all buffers that end with ``name``."""
    return sum(
        section.repeats * sum(tensor.elements for tensor in section.tensors if tensor.name.endswith(name))
        for section in saved_buffers(config)
    )


def stored_shapes(config: ModelConfig, max_tensors: int | None = None) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor that a checkpoint stores: parameters, a tied one once, and buffers.

    The keys are those of ``model.state_dict.unique_state_dict``.

    Args:
        config: A validated config.
        max_tensors: Maximum number of tensors; None for any number.

    Raises:
        AnalysisError: If there are more.
    """
    n_tensors = sum(section.repeats * len(section.tensors) for section in tensor_table(config))
    if max_tensors is not None and n_tensors > max_tensors:
        raise AnalysisError(f"the model has {n_tensors:,} tensors, more than {max_tensors:,}")
    parameters = {name: tensor.shape for name, tensor in expand(tensor_table(config)) if tensor.tied_to is None}
    return parameters | {
        section.full_name(tensor, index): tensor.shape
        for section in saved_buffers(config)
        for index in section.layers or range(section.n_mtp_layers or 1)
        for tensor in section.tensors
    }


XIELU_CONSTANTS = 2
"""A checkpoint stores the constants beta and eps of each xIELU, beside its two scalars."""


def xielu_constants(config: ModelConfig) -> int:
    """Return the constants that checkpoints store of the xIELU of each feed-forward network; the model has none."""
    groups = group_layers(config, None)
    activated = (each for each in groups if each.config.block.feed_forward)
    n_layers = sum(len(each.layers) for each in activated if each.config.feed_forward.activation == "xielu")
    return XIELU_CONSTANTS * n_layers


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
    if config.position.proportional:
        return config.d_head // PAIR  # K / 2; the frequencies of pairs that are not rotated are 0
    return int(config.d_head * config.position.rotary_fraction) // PAIR  # rotary_fraction × K / 2


def temperatures(config: ModelConfig) -> frozenset[tuple[float, int, int, str]]:
    """Return the fields of each temperature tuning; layers with equal ones share their factors."""
    tuned = (kind.attention for kind in layer_pattern(config).kinds)
    return frozenset(
        (each.temperature_scale, each.temperature_len, each.temperature_offset, each.temperature_growth)
        for each in tuned
        if each.temperature_scale is not None
    )
