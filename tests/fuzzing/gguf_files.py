"""GGUF files with errors in their keys, tensors, lengths or bytes, written without a library."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from tests.fuzzing.mutate import hostile, misspell, mutate_bytes

ALIGNMENT = 32
STRING, ARRAY = 8, 9
_INTEGERS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 10: "<Q", 11: "<q"}
_FLOATS = {6: "<f", 12: "<d"}
"""The number and the struct format of each type of a value."""

METADATA: Mapping[str, tuple[int, Any]] = {
    "general.architecture": (STRING, "llama"),
    "general.file_type": (4, 0),
    "llama.block_count": (4, 1),
    "llama.context_length": (4, 32),
    "llama.embedding_length": (4, 8),
    "llama.feed_forward_length": (4, 12),
    "llama.attention.head_count": (4, 2),
    "llama.attention.head_count_kv": (4, 1),
    "llama.attention.layer_norm_rms_epsilon": (6, 1e-5),
    "llama.rope.dimension_count": (4, 4),
    "llama.rope.freq_base": (6, 1e4),
    "tokenizer.ggml.tokens": (ARRAY, (STRING, ["a", "b", "<s>"])),
}
TENSORS: Mapping[str, tuple[int, ...]] = {
    "token_embd.weight": (8, 37),
    "blk.0.attn_norm.weight": (8,),
    "blk.0.attn_q.weight": (8, 8),
    "blk.0.attn_k.weight": (8, 4),
    "blk.0.attn_v.weight": (8, 4),
    "blk.0.attn_output.weight": (8, 8),
    "blk.0.ffn_norm.weight": (8,),
    "blk.0.ffn_gate.weight": (8, 12),
    "blk.0.ffn_up.weight": (8, 12),
    "blk.0.ffn_down.weight": (12, 8),
    "output_norm.weight": (8,),
    "output.weight": (8, 37),
}
"""The keys and tensors of a Llama with one layer; sizes in the order of the format, columns first."""

_NUMBERS = (0, 1, 3, 7, 8, 255, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1)
_ARCHITECTURES = ("llama", "qwen3", "gemma2", "gpt2", "mamba", "clip", "bert", "", "LLAMA", "x" * 5000)


def gguf_file(rng: Random) -> bytes:
    """Return a file with one to three errors, or now and then a valid one."""
    metadata, tensors = dict(METADATA), [(name, shape, 0) for name, shape in TENSORS.items()]
    counts: dict[str, int] = {}
    for _ in range(rng.randrange(4)):
        roll = rng.random()
        key, place = rng.choice(list(metadata) or [""]), rng.randrange(max(len(tensors), 1))
        if roll < 0.25:
            metadata[key] = _other_value(rng)
        elif roll < 0.35:
            metadata[misspell(rng, key) or hostile(rng)] = metadata.pop(key, (4, 1))
        elif roll < 0.4:
            metadata.pop(key, None)
        elif roll < 0.48:
            metadata["general.architecture"] = (STRING, rng.choice(_ARCHITECTURES))
        elif roll < 0.52:
            counts[rng.choice(("version", "tensors", "keys"))] = rng.choice(_NUMBERS)
        elif tensors:
            name, shape, type_ = tensors[place]
            if roll < 0.65:
                shape = rng.choice(((), (0,), (2**63,), (2**32, 2**32), (1,) * 5, shape[::-1], (*shape, 1), (7,)))
            elif roll < 0.75:
                type_ = rng.choice((1, 2, 8, 12, 14, 4, 31, 39, 99, 2**32 - 1))
            elif roll < 0.85:
                name = rng.choice((misspell(rng, name), hostile(rng), "", "x" * 70_000, "blk.9.attn_q.weight"))
            elif roll < 0.93:
                del tensors[place]
                continue
            else:
                tensors.append(tensors[place])
            tensors[place] = (name, shape, type_)
    data = _encode(metadata, tensors, counts)
    roll = rng.random()
    if roll < 0.08:
        return data[: rng.randrange(len(data))]
    if roll < 0.16:
        return mutate_bytes(rng, data[:20_000])
    return data


def _other_value(rng: Random) -> tuple[int, Any]:
    type_ = rng.choice((*_INTEGERS, *_FLOATS, 7, STRING, ARRAY, 13))
    if type_ == STRING:
        return type_, rng.choice((hostile(rng), "", "llama", "x" * 100_000))
    if type_ == ARRAY:
        return type_, (4, [rng.choice(_NUMBERS[:10]) for _ in range(rng.randrange(4))])
    if type_ in _FLOATS:
        return type_, rng.choice((0.0, -1.0, 1e30, float("nan"), float("inf")))
    return type_, rng.choice(_NUMBERS)


def _encode(
    metadata: Mapping[str, tuple[int, Any]],
    tensors: Sequence[tuple[str, tuple[int, ...], int]],
    counts: Mapping[str, int],
) -> bytes:
    keys = b"".join(
        _string(key) + struct.pack("<I", type_) + _value(type_, value) for key, (type_, value) in metadata.items()
    )
    entries, position = b"", 0
    for name, shape, type_ in tensors:
        size = 4
        for dimension in shape:
            size *= dimension
        entries += _string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, type_, position % 2**64)
        position += -(-size // ALIGNMENT) * ALIGNMENT
    head = b"GGUF" + struct.pack("<I", counts.get("version", 3) % 2**32)
    head += struct.pack("<QQ", counts.get("tensors", len(tensors)), counts.get("keys", len(metadata)))
    header = head + keys + entries
    return header + bytes(-len(header) % ALIGNMENT + min(position, 2**16))


def _string(text: str) -> bytes:
    data = text.encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(data)) + data


def _value(type_: int, value: Any) -> bytes:
    if type_ == STRING:
        return _string(value)
    if type_ == ARRAY:
        of_type, values = value
        return struct.pack("<IQ", of_type, len(values)) + b"".join(_value(of_type, each) for each in values)
    if type_ in _FLOATS:
        return struct.pack(_FLOATS[type_], value)
    format_ = _INTEGERS.get(type_, "<B")
    bits = 8 * struct.calcsize(format_)
    number: int = value % 2**bits
    return number.to_bytes(bits // 8, "little")
