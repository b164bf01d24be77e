"""The sizes of a model's GGUF files: every tensor in the type that llama.cpp gives it, for each type of file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from math import prod

from tinylm_cli.config.layer_kinds import layer_pattern
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import UnableError
from tinylm_cli.interop.gguf.architectures import ARCHITECTURES, TENSORS, Architecture
from tinylm_cli.interop.gguf.family import express_without_dropout
from tinylm_cli.interop.gguf.file_types import ALIGNMENT, FILE_TYPES, FLOATS, WITH_IMPORTANCE_MATRIX, tensor_bytes
from tinylm_cli.interop.gguf.tensor_types import QuantizedModel, StoredTensor, tensor_types
from tinylm_cli.interop.tensor_pairs import Shape, tensor_pairs
from tinylm_cli.reports.choices import GgufChoice, GgufType
from tinylm_cli.reports.params import GgufFile, GgufSizes, GgufTensors

ShapesOf = Callable[[ModelConfig, int], Mapping[str, Shape]]
"""Returns the shape of each tensor that a checkpoint stores, by name; a tied one under its first name only.

The second argument is the maximum number of tensors; more raise an error.
"""

MAX_TENSORS = 20_000
"""Tensors of a model whose sizes are computed: more than 1,000 layers."""


def gguf_sizes(
    config: ModelConfig, shapes_of: ShapesOf, choice: GgufChoice, *, has_importance_matrix: bool = False
) -> GgufSizes:
    """Return the size of the GGUF file of each type.

    A model that no architecture of llama.cpp stores is counted by the same rules, each tensor under the name that
    other architectures give a tensor of its kind.

    Args:
        config: A validated config.
        shapes_of: Returns the shapes of the tensors of a config.
        choice: The type of file, or all.
        has_importance_matrix: Whether files are quantized with an importance matrix; those that need one always are.

    Raises:
        AnalysisError: If the model has more than ``MAX_TENSORS`` tensors.
    """
    stored_config, architecture = stored_model(config)
    tensors, n_unnamed = _stored_tensors(stored_config, architecture, shapes_of(stored_config, MAX_TENSORS))
    model = quantized_model(stored_config, architecture)
    n_values = {tensor.name: prod(tensor.shape) for tensor in tensors}
    files = []
    for file_type in FILE_TYPES if choice == "all" else (choice,):
        has_matrix = file_type in WITH_IMPORTANCE_MATRIX or (has_importance_matrix and file_type not in FLOATS)
        types = tensor_types(tensors, model, file_type, has_importance_matrix=has_matrix)
        files.append(_file(file_type, types, n_values, has_matrix=has_matrix))
    return GgufSizes(
        architecture=architecture.name if architecture is not None and not n_unnamed else None,
        files=tuple(files),
    )


def stored_model(config: ModelConfig) -> tuple[ModelConfig, Architecture | None]:
    """Return the config that a GGUF file would store, and its architecture; the config itself and None without one.

    The family is the one that ``tinylm export`` chooses, and the config its equivalent.
    """
    try:
        exported = express_without_dropout(config)
    except UnableError:
        return config, None
    architecture = ARCHITECTURES.get(exported.family)
    return (config, None) if architecture is None else (exported.config, architecture)


def quantized_model(config: ModelConfig, architecture: Architecture | None) -> QuantizedModel:
    """Return the sizes that the rules of quantization read."""
    kinds = layer_pattern(config)
    first = next(iter(kinds))
    n_heads, n_kv_heads = (first.n_heads, first.n_kv_heads) if first.block.mixer == "attention" else (0, 0)
    if first.attention.kind == "latent":
        n_kv_heads = 1  # the latent vector, which all heads share
    return QuantizedModel(
        architecture="" if architecture is None else architecture.name,
        n_layers=config.n_layers + config.head.n_mtp_layers,
        n_heads=n_heads,
        n_kv_heads=n_kv_heads,
        n_experts=max(kind.feed_forward.n_experts or 0 for kind in kinds.kinds),
    )


def _stored_tensors(
    config: ModelConfig, architecture: Architecture | None, shapes: Mapping[str, Shape]
) -> tuple[list[StoredTensor], int]:
    """Return the tensors of the file, and how many of them have no name in llama.cpp."""
    names = TENSORS if architecture is None else architecture.tensors_of(config)
    pairs = list(tensor_pairs(config, names, shapes))
    named = {part.name for pair in pairs for part in pair.parts}
    unnamed = [(name, shape) for name, shape in shapes.items() if name not in named]
    tensors = chain(
        (StoredTensor(pair.stored, pair.stored_shape) for pair in pairs),
        (tensor for name, shape in unnamed for tensor in _without_name(config, name, shape)),
        _rotary_factors(config),
    )
    return list(tensors), len(unnamed)


def _without_name(config: ModelConfig, name: str, shape: Shape) -> Iterator[StoredTensor]:
    """Yield the tensors for one that no architecture in the table has, under the name of a tensor of its kind."""
    stored = name.replace("blocks.", "blk.", 1)
    prefix, module, _ = stored.rpartition("attention.kv_b_proj.weight")
    if module:  # kept as two tensors, with a matrix for each head
        d_value, d_latent = config.d_value, shape[1]
        d_key = shape[0] // config.n_heads - d_value
        yield StoredTensor(f"{prefix}attn_k_b.weight", (config.n_heads, d_latent, d_key))
        yield StoredTensor(f"{prefix}attn_v_b.weight", (config.n_heads, d_value, d_latent))
        return
    if name.endswith(".conv.weight"):
        stored = stored.replace(".conv.", ".ssm_conv1d.")
    yield StoredTensor(stored, shape)


def _rotary_factors(config: ModelConfig) -> Iterator[StoredTensor]:
    """Yield the factors of RoPE scaling that a file stores as a tensor."""
    position = config.position
    n_pairs = int(config.d_head * position.rotary_fraction) // 2
    if position.kind != "rope":
        return
    if position.scaling == "llama3":
        yield StoredTensor("rope_freqs.weight", (n_pairs,))
    elif position.scaling == "longrope":
        yield StoredTensor("rope_factors_long.weight", (n_pairs,))
        yield StoredTensor("rope_factors_short.weight", (n_pairs,))


def _file(file_type: GgufType, types: Mapping[str, str], n_values: Mapping[str, int], *, has_matrix: bool) -> GgufFile:
    sizes = {name: tensor_bytes(tensor_type, n_values[name]) for name, tensor_type in types.items()}
    total_bytes = sum(sizes.values())
    return GgufFile(
        type=file_type,
        tensor_bytes=total_bytes,
        padding_bytes=sum(-size % ALIGNMENT for size in sizes.values()),
        bits_per_weight=total_bytes * 8 / sum(n_values.values()),
        importance_matrix=has_matrix,
        tensors=tuple(_by_type(types, n_values, sizes)),
    )


def _by_type(types: Mapping[str, str], n_values: Mapping[str, int], sizes: Mapping[str, int]) -> Iterable[GgufTensors]:
    """Yield a row for each type of tensor, the one with the most bytes first."""
    names: dict[str, list[str]] = {}
    for name, tensor_type in types.items():
        names.setdefault(tensor_type, []).append(name)
    rows = (
        GgufTensors(
            type=tensor_type,
            n_tensors=len(members),
            params=sum(n_values[name] for name in members),
            tensor_bytes=sum(sizes[name] for name in members),
        )
        for tensor_type, members in names.items()
    )
    return sorted(rows, key=lambda row: -row.tensor_bytes)
