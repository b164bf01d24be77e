"""Small GGUF files without weights, in the layouts of several architectures, to ask llama.cpp for types."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from gguf import GGUFWriter

from tinylm_cli.interop.gguf.tensor_types import QuantizedModel, StoredTensor

VOCAB = 256


class SmallFile(NamedTuple):
    """A model of equal layers."""

    architecture: str
    n_layers: int = 17
    d_model: int = 256
    n_heads: int = 8
    n_kv_heads: int = 8
    d_ff: int = 512
    n_experts: int = 0
    is_tied: bool = True
    is_fused: bool = False  # Whether queries, keys and values are one tensor.
    has_shared_expert: bool = False

    def quantized_model(self) -> QuantizedModel:
        """Return the sizes that the rules read."""
        return QuantizedModel(self.architecture, self.n_layers, self.n_heads, self.n_kv_heads, self.n_experts)

    def tensors(self) -> list[StoredTensor]:
        """Return the tensors of the file."""
        d = self.d_model
        found = [StoredTensor("token_embd.weight", (VOCAB, d)), StoredTensor("output_norm.weight", (d,))]
        if not self.is_tied:
            found.append(StoredTensor("output.weight", (VOCAB, d)))
        layer = {**self._attention(), **self._feed_forward()}
        return found + [
            StoredTensor(f"blk.{index}.{name}", shape)
            for index in range(self.n_layers)
            for name, shape in layer.items()
        ]

    def write(self, path: Path) -> Path:
        """Write the file, with zeros, and return its path; routers and vectors are in float32, as converters write."""
        writer = GGUFWriter(path, self.architecture)
        writer.add_block_count(self.n_layers)
        writer.add_context_length(64)
        writer.add_embedding_length(self.d_model)
        writer.add_feed_forward_length(self.d_ff)
        writer.add_head_count(self.n_heads)
        writer.add_head_count_kv(self.n_kv_heads)
        writer.add_layer_norm_rms_eps(1e-5)
        writer.add_layer_norm_eps(1e-5)
        writer.add_vocab_size(VOCAB)
        if self.n_experts:
            writer.add_expert_count(self.n_experts)
            writer.add_expert_used_count(2)
            writer.add_expert_feed_forward_length(self.d_ff)
        for name, shape in self.tensors():
            is_float32 = len(shape) < 2 or "ffn_gate_inp" in name
            writer.add_tensor(name, np.zeros(shape, np.float32 if is_float32 else np.float16))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path

    def _attention(self) -> dict[str, tuple[int, ...]]:
        d, d_kv = self.d_model, self.d_model * self.n_kv_heads // self.n_heads
        norms = {"attn_norm.weight": (d,), "ffn_norm.weight": (d,)}
        output = {"attn_output.weight": (d, d)}
        if self.is_fused:
            return {**norms, "attn_qkv.weight": (d + 2 * d_kv, d), "attn_qkv.bias": (d + 2 * d_kv,), **output}
        keys = {f"attn_{part}.weight": (d_kv, d) for part in "kv"}
        return {**norms, "attn_q.weight": (d, d), **keys, "attn_v.bias": (d_kv,), **output}

    def _feed_forward(self) -> dict[str, tuple[int, ...]]:
        d, shapes = self.d_model, {"gate": (self.d_ff, self.d_model), "up": (self.d_ff, self.d_model)}
        shapes["down"] = (d, self.d_ff)
        if not self.n_experts:
            return {f"ffn_{part}.weight": shape for part, shape in shapes.items()}
        experts = {f"ffn_{part}_exps.weight": (self.n_experts, *shape) for part, shape in shapes.items()}
        shared = {f"ffn_{part}_shexp.weight": shape for part, shape in shapes.items()}
        routed = {"ffn_gate_inp.weight": (self.n_experts, d), **experts}
        return {**routed, "ffn_gate_inp_shexp.weight": (1, d), **shared} if self.has_shared_expert else routed


SMALL_FILES = {
    "llama-mha": SmallFile("llama"),
    "llama-gqa": SmallFile("llama", n_kv_heads=2, is_tied=False),
    "llama-3-layers": SmallFile("llama", n_layers=3, is_tied=False),
    "llama-80-layers": SmallFile("llama", n_layers=80, n_kv_heads=2, is_tied=False),
    "llama-80-layers-mha": SmallFile("llama", n_layers=80, is_tied=False),
    "llama-96-columns": SmallFile("llama", d_model=96, n_kv_heads=4, d_ff=192, is_tied=False),
    "llama-72-columns": SmallFile("llama", d_model=72, n_kv_heads=2, d_ff=144),
    "mixtral": SmallFile("llama", n_layers=32, n_kv_heads=2, n_experts=8, is_tied=False),
    "4-experts": SmallFile("llama", n_kv_heads=4, d_ff=288, n_experts=4),
    "2-experts": SmallFile("llama", n_kv_heads=2, n_experts=2),
    "qwen2-80-layers": SmallFile("qwen2", n_layers=80, n_kv_heads=2),
    "qwen2moe": SmallFile("qwen2moe", n_experts=6, has_shared_expert=True, is_tied=False),
    "qwen2moe-8-experts": SmallFile("qwen2moe", n_layers=24, n_experts=8, has_shared_expert=True),
    "gpt2": SmallFile("gpt2", is_fused=True),
    "falcon": SmallFile("falcon", n_kv_heads=1, is_fused=True, is_tied=False),
    "falcon-tied": SmallFile("falcon", n_kv_heads=1, is_fused=True),
}
"""Models that reach every rule."""
