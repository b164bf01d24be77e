"""Export a tinylm model to a folder that transformers loads: config.json and model.safetensors."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from tinylm_cli.atomic_write import write_folder
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import CONFIG_FILE
from tinylm_cli.interop.export_config import EXPORT_MARKER, FILES, ExportedConfig
from tinylm_cli.interop.heads import tensor_names_of
from tinylm_cli.interop.safetensors_index import WEIGHTS_FILE
from tinylm_cli.interop.tensor_pairs import Pair, base_prefix, constant_tensors, tensor_pairs, without_base
from tinylm_cli.interop.weights.fused_tensors import LAYOUTS
from tinylm_cli.model import TinyTransformerLM
from tinylm_cli.model.position import LearnedPosition, SinusoidalPosition
from tinylm_cli.model.safetensors_file import LazyTensor, write_safetensors
from tinylm_cli.model.state_dict import buffer_dtypes, unique_state_dict

EMBEDDING = "embedding.token_embedding.embedding.weight"
POSITIONS = "embedding.positional_encoding.weight"

Values = Mapping[str, Callable[[], Tensor]]
"""A function per tensor name that returns the tensor; called when the tensor is written."""


def export_model(
    model: TinyTransformerLM, exported: ExportedConfig, directory: Path, *, overwrite: bool = False
) -> int:
    """Write ``config.json`` and ``model.safetensors`` for a model.

    Args:
        model: The model, with storage.
        exported: Its config as :func:`tinylm_cli.interop.export_config.export_config` returns it.
        directory: The folder to write; its parent exists.
        overwrite: Whether to replace a folder that holds only these files.

    Returns:
        Number of tensors in the file.

    Raises:
        ValueError: If the model is on meta.
        OutputError: If the folder may not be replaced or cannot be written.
    """
    if model.device.type == "meta":
        raise ValueError("a model on meta has no weights to export")
    config, dtype = exported.config, model.dtype
    values = equivalent_values(model, config)
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors_on_meta(config).items()}
    dtypes = buffer_dtypes(model)
    names = tensor_names_of(exported.family, config)
    pairs = list(tensor_pairs(config, names, shapes))
    planned = [
        LazyTensor(
            pair.stored,
            pair.stored_shape,
            dtypes.get(pair.parts[0].name, dtype),
            partial(stored_tensor, pair, values, config),
        )
        for pair in (without_base(pairs) if config.head.kind == "none" else pairs)
    ]
    base = base_prefix(pairs) if config.head.kind == "none" else ""
    planned += [
        LazyTensor(name.removeprefix(base), (), dtype, partial(torch.tensor, value, dtype=dtype, device="cpu"))
        for name, value in constant_tensors(config, names).items()
    ]
    planned += [
        LazyTensor(name.removeprefix(base), shape, dtype, partial(torch.zeros, shape, dtype=dtype, device="cpu"))
        for name, shape in names.unused_tensors(config).items()
    ]
    document = EXPORT_MARKER | exported.document | {"torch_dtype": str(dtype).removeprefix("torch.")}

    def write(folder: Path) -> None:
        (folder / CONFIG_FILE).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8", newline="\n")
        write_safetensors(folder / WEIGHTS_FILE, planned)

    needed_bytes = sum(tensor.nbytes for tensor in planned)
    write_folder(directory, FILES, write, overwrite=overwrite, needed_bytes=needed_bytes)
    return len(planned)


def equivalent_values(model: TinyTransformerLM, equivalent: ModelConfig) -> Values:
    """Return the tensors of an equivalent model: the model's own, with those that differ replaced or added."""
    own = unique_state_dict(model)
    values: dict[str, Callable[[], Tensor]] = {name: partial(_on_cpu, tensor) for name, tensor in own.items()}
    if equivalent == model.config:
        return values
    table, position = model.embedding.token_embedding, model.embedding.positional_encoding
    if table.scale != 1:
        values[EMBEDDING] = lambda: _on_cpu(table.embedding.weight) * table.scale
    if model.config.tie_weights and not equivalent.tie_weights:
        values["lm_head.weight"] = partial(_on_cpu, model.lm_head.weight)
    if isinstance(position, SinusoidalPosition):
        values[POSITIONS] = partial(_on_cpu, position.table)
    elif isinstance(position, LearnedPosition):
        values[POSITIONS] = partial(_on_cpu, position.weight[position.offset - equivalent.position.offset :])
    for name, tensor in tensors_on_meta(equivalent).items():
        if name not in values:  # a bias, or positions without effect
            values[name] = partial(torch.zeros, tuple(tensor.shape), dtype=model.dtype, device="cpu")
    return values


def tensors_on_meta(config: ModelConfig) -> dict[str, Tensor]:
    """Return the tensors of a config by name, without values."""
    return unique_state_dict(TinyTransformerLM.from_config(config, device="meta"))


def _on_cpu(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu()


def stored_tensor(pair: Pair, values: Values, config: ModelConfig) -> Tensor:
    """Return the stored tensor of a pair, fused from the model's tensors."""
    parts = []
    for part in pair.parts:
        whole = values[part.name]()
        parts.append(whole if part.selection is None else whole[part.selection])
    return LAYOUTS[pair.layout].join(parts, config)
