"""The working memory of each mixer alone, held to the tensors that its module creates.

Modules run on the meta device, where tensors have sizes and no values. The sizes of each case make another point of
the pass its peak.
"""

from __future__ import annotations

import pytest
import torch

from tests.live_memory import peak_bytes
from tinylm_cli.analysis.mixers import all_mixers, mixer_of
from tinylm_cli.analysis.mixers.mixer import InferencePass
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.load import load_config
from tinylm_cli.model.mixers import registry

FACTOR = 1.1
"""How far above the measured peak an estimate may lie."""

D, META = 64, torch.device("meta")
ELEMENT_BYTES = {torch.float32: 4, torch.bfloat16: 2}
HEADS = ("n_key_heads=2", "n_value_heads=4")
CASES: dict[str, tuple[str, tuple[str, ...]]] = {
    "short convolution": ("short_conv", ()),
    "short convolution with biases": ("short_conv", ("bias=true", "kernel_size=1")),
    "long convolution": ("short_conv", ("kernel_size=64",)),
    "Mamba": ("mamba", ("chunk_len=72",)),
    "Mamba of wide states": ("mamba", ("d_state=64", "chunk_len=24")),
    "Mamba of single numbers": ("mamba", ("d_state=1", "chunk_len=1", "kernel_size=1", "conv_bias=false")),
    "Mamba of few dimensions": ("mamba", ("d_inner=8", "d_state=1", "dt_rank=1", "chunk_len=1", "kernel_size=1")),
    "Mamba with a long convolution": ("mamba", ("kernel_size=1024", "d_state=1")),
    "Mamba-2 of long chunks": ("mamba2", ("n_groups=8", "n_heads=8", "d_head=16", "d_state=4")),
    "Mamba-2 of short chunks": ("mamba2", ("d_head=16", "chunk_len=8", "d_state=512")),
    "Mamba-2 of narrow heads": ("mamba2", ("n_heads=32", "d_head=1", "d_state=1")),
    "Mamba-2 of small states": ("mamba2", ("d_head=64", "chunk_len=1", "d_state=1", "kernel_size=1", "norm=full")),
    "Mamba-2 of shared vectors": ("mamba2", ("n_groups=2", "n_heads=2", "d_head=1", "chunk_len=5")),
    "Mamba-2 of few dimensions": ("mamba2", ("n_heads=1", "d_head=1", "d_state=1", "chunk_len=1", "kernel_size=1")),
    "Mamba-2 with a long convolution": ("mamba2", ("d_head=16", "chunk_len=8", "kernel_size=1024", "d_state=1")),
    "gated recurrence": ("rg_lru", ("n_blocks=4", "kernel_size=1")),
    "wide gated recurrence": ("rg_lru", ("n_blocks=4", "d_inner=256", "bias=false")),
    "narrow gated recurrence": ("rg_lru", ("n_blocks=2", "d_inner=8")),
    "gated recurrence with a long convolution": ("rg_lru", ("n_blocks=4", "kernel_size=1024")),
    "time mixing": ("rwkv", ()),
    "wide time mixing": ("rwkv", ("d_inner=256",)),
    "narrow time mixing": ("rwkv", ("d_inner=8",)),
    "exponential gates": ("mlstm", ("n_heads=4", "d_key=16", "d_value=16", "chunk_len=8")),
    "exponential gates of long chunks": ("mlstm", ("n_heads=4", "d_key=4", "d_value=4", "chunk_len=256")),
    "exponential gates of unequal chunks": ("mlstm", ("n_heads=4", "d_key=4", "d_value=4", "chunk_len=64")),
    "exponential gates of wide memories": ("mlstm", ("n_heads=1", "d_key=256", "d_value=256", "chunk_len=4")),
    "exponential gates of wide keys": ("mlstm", ("n_heads=2", "d_key=128", "d_value=2", "chunk_len=16")),
    "exponential gates of wide values": ("mlstm", ("n_heads=2", "d_key=1", "d_value=128", "chunk_len=16")),
    "exponential gates of few dimensions": (
        "mlstm", ("n_heads=1", "d_key=1", "d_value=1", "chunk_len=1", "gate_softcap=15"),
    ),
    "delta rule": ("gated_deltanet", (*HEADS, "d_key=16", "d_value=16", "chunk_len=8")),
    "delta rule of wide values": ("gated_deltanet", (*HEADS, "d_key=4", "d_value=64", "chunk_len=8")),
    "delta rule of wide states": ("gated_deltanet", (*HEADS, "d_key=256", "d_value=32", "chunk_len=4")),
    "delta rule of wide keys": ("gated_deltanet", ("n_key_heads=4", "d_key=64", "d_value=1", "kernel_size=1")),
    "delta rule of long chunks": ("gated_deltanet", (*HEADS, "d_key=4", "d_value=4", "chunk_len=256", "gate=false")),
    "delta rule of few dimensions": (
        "gated_deltanet", ("n_key_heads=1", "n_value_heads=1", "d_key=1", "d_value=1", "chunk_len=1", "kernel_size=1"),
    ),
    "delta rule with a long convolution": ("gated_deltanet", ("kernel_size=1024", "d_key=4", "d_value=4")),
    "channel decays": ("kimi_delta_attention", ("n_heads=4", "d_head=16", "chunk_len=8")),
    "channel decays of wide states": ("kimi_delta_attention", ("n_heads=1", "d_head=256", "chunk_len=4")),
    "channel decays of full rank": ("kimi_delta_attention", ("n_heads=4", "d_head=16", "gate_rank=null")),
    "channel decays of long chunks": ("kimi_delta_attention", ("n_heads=4", "d_head=4", "chunk_len=256")),
    "channel decays of few dimensions": (
        "kimi_delta_attention", ("n_heads=1", "d_head=1", "gate_rank=1", "chunk_len=1", "kernel_size=1"),
    ),
    "channel decays of a high rank": (
        "kimi_delta_attention", ("n_heads=1", "d_head=1", "gate_rank=512", "chunk_len=1", "kernel_size=1"),
    ),
    "bounded channel decays": (
        "kimi_delta_attention", ("n_heads=2", "d_head=32", "max_decay_rate=5", "gate_rank=16", "chunk_len=16"),
    ),
    "channel decays with a long convolution": ("kimi_delta_attention", ("kernel_size=1024", "n_heads=4", "d_head=4")),
}  # fmt: skip


def make(name: str) -> ModelConfig:
    mixer, settings = CASES[name]
    sizes = (f"d_model={D}", "n_layers=1", "max_len=4096", "position.kind=none", f"block.mixer={mixer}")
    return load_config("tiny", [*sizes, *(f"{mixer}.{setting}" for setting in settings)]).config


def measured(config: ModelConfig, *, batch_size: int, seq_len: int, dtype: torch.dtype, start: int | None) -> int:
    """Return the peak bytes of a mixer, with x and norm(x), and with a state of ``start`` positions unless None."""
    kind = registry.MIXERS[config.block.mixer]
    assert kind is not None
    module, cache = kind(config).to(dtype), None
    if start is not None:
        buffers = kind.State.buffers(config, batch_size=batch_size, capacity=start + seq_len)
        wide = torch.promote_types(dtype, torch.float32)
        tensors = [torch.zeros(each.shape, device=META, dtype=wide if each.is_upcast else dtype) for each in buffers]
        (cache,) = kind.State.of_layers(tensors, start=start, count=seq_len)
    source = torch.zeros(batch_size, seq_len, D, device=META, dtype=dtype)  # (B, T, D)

    def mix() -> object:
        x = source.clone()  # (B, T, D)
        return x, module(x.clone(), cache=cache)

    with torch.no_grad():
        return peak_bytes(mix)


@pytest.mark.parametrize("dtype", ELEMENT_BYTES, ids=str)
@pytest.mark.parametrize("name", CASES)
def test_prefill(name: str, dtype: torch.dtype) -> None:
    """Two sequences of 72 tokens, without states and with empty ones."""
    config, tokens = make(name), InferencePass(2, 72, 72, ELEMENT_BYTES[dtype], "fused")
    estimate = max(mixer_of(config).prefill_bytes(config, tokens))
    for start in (None, 0):
        peak = measured(config, batch_size=2, seq_len=72, dtype=dtype, start=start)
        assert peak <= estimate <= FACTOR * peak


@pytest.mark.parametrize("dtype", ELEMENT_BYTES, ids=str)
@pytest.mark.parametrize("name", CASES)
def test_decoding(name: str, dtype: torch.dtype) -> None:
    config, token = make(name), InferencePass(1, 1, 9, ELEMENT_BYTES[dtype], "fused")
    held, points = mixer_of(config).decode_bytes(config, token)
    peak = measured(config, batch_size=1, seq_len=1, dtype=dtype, start=8)
    assert peak <= held + max(points) <= FACTOR * peak


def test_no_keys_to_pass_around_a_ring() -> None:
    """Only attention has some; layers without a mixer split a sequence, but exchange nothing."""
    for name, mixer in all_mixers().items():
        narrow = ["mlstm.d_value=128"] if name == "mlstm" else []
        config = load_config("tiny", [f"block.mixer={name}", *narrow]).config
        elements = mixer.ring_elements(config, tensor_parallel=1)
        assert elements == (2 * config.d_model if name == "attention" else 0)
        assert mixer.supports_context_parallel == (name in ("attention", "none"))
