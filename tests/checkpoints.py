"""Small checkpoints of a Llama, well-formed and with one fault each, written without torch."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.fuzzing.mutate import Tensors, data_bytes, safetensors_bytes, safetensors_header

CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 500,
    "hidden_size": 16,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_hidden_layers": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-05,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
}

_LAYER: Tensors = {
    "input_layernorm": (16,),
    "self_attn.q_proj": (16, 16),
    "self_attn.k_proj": (8, 16),
    "self_attn.v_proj": (8, 16),
    "self_attn.o_proj": (16, 16),
    "post_attention_layernorm": (16,),
    "mlp.gate_proj": (48, 16),
    "mlp.up_proj": (48, 16),
    "mlp.down_proj": (16, 48),
}
TENSORS: Tensors = {
    "model.embed_tokens.weight": (500, 16),
    **{f"model.layers.{layer}.{name}.weight": shape for layer in range(4) for name, shape in _LAYER.items()},
    "model.norm.weight": (16,),
    "lm_head.weight": (500, 16),
}
"""The tensors of transformers' ``LlamaForCausalLM`` of ``CONFIG``."""

FILES = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"


def write(folder: Path, change: Callable[[dict[str, Any]], None] | None = None, **keys: Any) -> None:
    """Write a checkpoint in one file, with its header and some keys of its config changed."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG | keys, indent=2), encoding="utf-8")
    header = safetensors_header(TENSORS)
    if change is not None:
        change(header)
    (folder / WEIGHTS).write_bytes(safetensors_bytes(header, bytes(data_bytes(header))))


def write_shards(folder: Path, change: Callable[[dict[str, Any]], None] | None = None) -> None:
    """Write a checkpoint in two files, with its index changed."""
    write(folder)
    (folder / WEIGHTS).unlink()
    cut = len(TENSORS) // 2
    names = dict(zip(FILES, (list(TENSORS)[:cut], list(TENSORS)[cut:]), strict=True))
    total = 0
    for file, tensors in names.items():
        header = safetensors_header({name: TENSORS[name] for name in tensors})
        total += data_bytes(header)
        (folder / file).write_bytes(safetensors_bytes(header, bytes(data_bytes(header))))
    weight_map = {name: file for file, tensors in names.items() for name in tensors}
    index: dict[str, Any] = {"metadata": {"total_size": total}, "weight_map": weight_map}
    if change is not None:
        change(index)
    (folder / INDEX).write_text(json.dumps(index, indent=2), encoding="utf-8")


def _pad(header: dict[str, Any]) -> None:
    """Give the embedding and the head 512 rows, and their data to the end of the file."""
    shapes = TENSORS | {"model.embed_tokens.weight": (512, 16), "lm_head.weight": (512, 16)}
    header |= safetensors_header(shapes)


def write_padded(folder: Path) -> None:
    """Write a checkpoint whose embedding and head have more rows than the config says."""
    write(folder, _pad)


def _move(header: dict[str, Any], name: str, by: int) -> None:
    header[name]["data_offsets"] = [place + by for place in header[name]["data_offsets"]]


def _gap(folder: Path) -> None:
    write(folder, lambda header: _move(header, "lm_head.weight", 64))


def _overlap(folder: Path) -> None:
    def change(header: dict[str, Any]) -> None:
        _move(header, "model.norm.weight", -16)
        _move(header, "lm_head.weight", -16)

    write(folder, change)


def _too_few_bytes(folder: Path) -> None:
    def change(header: dict[str, Any]) -> None:
        header["lm_head.weight"]["data_offsets"][1] -= 8

    write(folder, change)


def _twice(folder: Path) -> None:
    write_shards(folder)
    names = [*list(TENSORS)[len(TENSORS) // 2 :], "model.embed_tokens.weight"]
    header = safetensors_header({name: TENSORS[name] for name in names})
    (folder / FILES[1]).write_bytes(safetensors_bytes(header, bytes(data_bytes(header))))


def _swapped(folder: Path) -> None:
    write_shards(folder, lambda index: index["weight_map"].update({"model.embed_tokens.weight": FILES[1]}))


def _wrong_total(folder: Path) -> None:
    write_shards(folder, lambda index: index["metadata"].update(total_size=1000))


def _absent(folder: Path) -> None:
    write_shards(folder)
    (folder / FILES[1]).unlink()


def _without_norm(folder: Path) -> None:
    def change(header: dict[str, Any]) -> None:
        tensors = {name: shape for name, shape in TENSORS.items() if name != "model.layers.2.input_layernorm.weight"}
        header.clear()
        header |= safetensors_header(tensors)

    write(folder, change)


def _truncated(folder: Path) -> None:
    write(folder)
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-1000])


def _nonsense(folder: Path) -> None:
    write(folder)
    (folder / WEIGHTS).write_bytes(b"<!DOCTYPE html><html><body>Please sign in</body></html>")


FAULTS: dict[str, Callable[[Path], None]] = {
    "data-gap": _gap,
    "data-overlap": _overlap,
    "duplicate-tensor": _twice,
    "index-mismatch": _swapped,
    "index-total-size": _wrong_total,
    "missing-file": _absent,
    "missing-tensor": _without_norm,
    "tensor-bytes": _too_few_bytes,
    "tensor-dtype": lambda folder: write(folder, torch_dtype="bfloat16"),
    "tensor-shape": write_padded,
    "truncated-file": _truncated,
    "unknown-tensor": lambda folder: write(folder, num_hidden_layers=3),
    "unreadable-header": _nonsense,
}
"""Writes a checkpoint with one fault, by the code of its diagnostic."""
