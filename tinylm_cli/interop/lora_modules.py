"""The modules of a model to which LoRA adapters can be added, by the names of its family and by tinylm's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

from tinylm_cli.config.lora import LoraModule
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import AnalysisError
from tinylm_cli.interop.tensor_names import EMBEDDING, TensorLayout, TensorNames
from tinylm_cli.interop.tensor_pairs import Pair, Shape, tensor_pairs

MAX_TENSORS = 500_000
"""Most tensors of a model whose modules are looked up one by one."""

_TRANSPOSED = frozenset(
    {TensorLayout.transposed, TensorLayout.stacked_transposed, TensorLayout.alternating, TensorLayout.flattened}
)
"""Layouts whose last dimension is the output."""

_EMBEDDINGS = (EMBEDDING, "embedding.positional_encoding", "embedding.per_layer.table")
_MATRIX_DIMS, _STACK_DIMS = 2, 3

MIXTRAL_NAMES = {"block_sparse_moe.": "mlp."}
"""Parts of the names of checkpoints, mapped to those of the modules of transformers 5 in the families of Mixtral."""


def family_modules(
    config: ModelConfig, names: TensorNames, shapes: Mapping[str, Shape], renamed: Mapping[str, str]
) -> list[LoraModule]:
    """Return the modules and tensors of a model that adapters can belong to, as its family names them.

    Routers are no linear modules in transformers 5, and the weights of all experts are one tensor.

    Args:
        config: The model's config.
        names: The tensor names of its family.
        shapes: Shape of each model tensor by full name; a tied tensor under its first name only.
        renamed: Parts of names in checkpoints mapped to those in transformers.

    Raises:
        AnalysisError: If the model has more than ``MAX_TENSORS`` tensors.
    """
    pairs = list(islice(tensor_pairs(config, names, shapes), MAX_TENSORS + 1))
    if len(pairs) > MAX_TENSORS:
        raise AnalysisError(
            f"the model has more than {MAX_TENSORS:,} tensors, too many to add adapters to",
            help="reduce its layers or its experts",
        )
    biases = _biases((pair.stored, pair.stored_shape) for pair in pairs)
    found: list[LoraModule] = []
    for pair in pairs:
        if isinstance(pair.parts[0].selection, int):
            if pair.parts[0].selection == 0 and pair.stored.endswith(".weight"):
                _add_experts(found, pair, shapes)
        else:
            module = _of_pair(pair, biases)
            if module is not None:
                found.append(module)
    if config.tie_weights and "lm_head" in names.top_level:
        rows, d_model = shapes[f"{EMBEDDING}.weight"]
        found.append(LoraModule(names.top_level["lm_head"], "linear", ("lm_head",), None, d_model, rows))
    for part, runtime in renamed.items():
        found = [each._replace(name=each.name.replace(part, runtime)) for each in found]
    return found


def own_modules(shapes: Mapping[str, Shape], *, tied: bool) -> list[LoraModule]:
    """Return the modules of a model that adapters can belong to, as tinylm names them."""
    biases, found = _biases(shapes.items()), []
    for name, shape in shapes.items():
        module, dot, kind = name.rpartition(".")
        if not dot or kind != "weight" or len(shape) not in (_MATRIX_DIMS, _STACK_DIMS) or ".router" in name:
            continue
        if len(shape) == _STACK_DIMS:
            if ".experts." in name:
                experts, d_out, d_in = shape
                found.append(LoraModule(name, "parameter", (module,), _layer(module), d_in, d_out, n_experts=experts))
            continue
        found.append(_matrix(module, (module,), shape, biases))
    if tied:
        rows, d_model = shapes[f"{EMBEDDING}.weight"]
        found.append(LoraModule("lm_head", "linear", ("lm_head",), None, d_model, rows))
    return found


def _biases(shapes: Iterable[tuple[str, Shape]]) -> dict[str, int]:
    """Return the elements of the bias of each module."""
    return {name.removesuffix(".bias"): shape[0] for name, shape in shapes if name.endswith(".bias")}


def _layer(module: str) -> int | None:
    """Return the index of the layer of a module of tinylm; None outside the layers."""
    parts = module.split(".")
    return int(parts[1]) if parts[0] == "blocks" else None


def _matrix(name: str, modules: tuple[str, ...], shape: Shape, biases: Mapping[str, int]) -> LoraModule:
    """Return the module of a weight (out, in), or of an embedding (rows, D)."""
    d_out, d_in = shape
    if modules[0] in _EMBEDDINGS:  # reads token ids: A is (r, rows), B is (D, r)
        return LoraModule(name, "embedding", modules, None, d_out, d_in)
    return LoraModule(name, "linear", modules, _layer(modules[0]), d_in, d_out, bias_params=biases.get(name, 0))


def _of_pair(pair: Pair, biases: Mapping[str, int]) -> LoraModule | None:
    """Return the module, or the tensor, that a stored tensor belongs to; None if adapters cannot belong to it."""
    modules = tuple(part.name.removesuffix(".weight") for part in pair.parts)
    name, dims = pair.stored.removesuffix(".weight"), len(pair.stored_shape)
    is_transposed = pair.layout in _TRANSPOSED
    if dims == _MATRIX_DIMS and pair.stored.endswith(".weight"):
        shape = (pair.stored_shape[1], pair.stored_shape[0]) if is_transposed else pair.stored_shape
        module = _matrix(name, modules, shape, biases)
        is_router = ".router" in modules[0]
        return module._replace(name=pair.stored, kind="parameter") if is_router else module
    if dims == _STACK_DIMS and ".experts." in modules[0]:
        experts, d_out, d_in = pair.stored_shape
        if is_transposed:
            d_out, d_in = d_in, d_out
        return LoraModule(pair.stored, "parameter", modules, _layer(modules[0]), d_in, d_out, n_experts=experts)
    return None


def _add_experts(found: list[LoraModule], pair: Pair, shapes: Mapping[str, Shape]) -> None:
    """Add the tensor in which transformers 5 stacks the weights of experts that checkpoints store one by one.

    Gate and up projections are one tensor, ``gate_up_proj``.
    """
    (part,) = pair.parts
    module = part.name.removesuffix(".weight")
    container = pair.stored.partition(".experts.")[0] + ".experts"
    leaf = module.rpartition(".")[2]
    n_experts, d_out, d_in = shapes[part.name]
    is_gated = f"{module.rpartition('.')[0]}.gate_proj.weight" in shapes
    if leaf == "gate_proj" or (leaf == "up_proj" and is_gated):
        name = f"{container}.gate_up_proj"
        if found and found[-1].name == name:
            last = found[-1]
            found[-1] = last._replace(modules=(*last.modules, module), d_out=last.d_out + d_out)
            return
    else:
        name = f"{container}.{leaf}"
    found.append(LoraModule(name, "parameter", (module,), _layer(module), d_in, d_out, n_experts=n_experts))


def container_names(modules: Iterable[str]) -> Iterator[str]:
    """Yield the name of each module, and of each module that contains it, once."""
    seen: dict[str, None] = {}
    for name in modules:
        parts = name.split(".")
        for end in range(1, len(parts) + 1):
            seen.setdefault(".".join(parts[:end]))
    yield from seen
