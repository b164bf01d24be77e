"""Bytes before any is allocated, held to what tensors really take."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from itertools import cycle, islice
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from torch.nn.attention import SDPBackend, sdpa_kernel

from tests.live_memory import peak_bytes
from tests.random_configs import small_configs
from tinylm_cli.analysis.cpu_memory import (
    MAX_META_LAYERS,
    MAX_TENSORS,
    OBJECT_BYTES,
    decode_bytes,
    forward_bytes,
    module_bytes,
    require_short_meta_pass,
)
from tinylm_cli.analysis.inference_memory import inference_memory
from tinylm_cli.analysis.inference_working_memory import SLACK
from tinylm_cli.analysis.kv_cache import kv_cache_bytes
from tinylm_cli.analysis.params import weights_bytes
from tinylm_cli.analysis.setups import ServingSetup
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import CapacityError
from tinylm_cli.interop.load import load_config
from tinylm_cli.model import TinyTransformerLM
from tinylm_cli.model.forward_trace import run_forward
from tinylm_cli.model.kv_cache import KVCache
from tinylm_cli.model.sampling import SamplingParams

FACTOR = 1.6
"""How far above the measured peak an estimate may lie, beside the slack."""

ROPE = {"kind": "rope"}
LATENT = {"kind": "latent", "kv_rank": 64, "d_nope": 32, "d_rope": 16, "d_value": 32}
LLAMA: dict[str, Any] = {
    "d_ff": 344,
    "tie_weights": False,
    "position": ROPE,
    "norm": {"kind": "rmsnorm"},
    "attention": {"n_kv_heads": 2, "bias": False},
    "feed_forward": {"activation": "silu", "gated": True, "bias": False},
}
MODELS: dict[str, dict[str, Any]] = {
    "the course's": {},
    "of many words": {"vocab_size": 5000, "head": {"logit_softcap": 30.0}},
    "of many scaled words": {"vocab_size": 5000, "head": {"logit_scale": 0.5}},
    "codebooks": {**LLAMA, "vocab_size": 100, "embedding": {"n_codebooks": 8}, "head": {"logit_scale": 0.5}},
    "codebooks beside narrow layers": {"d_ff": 16, "block": {"mixer": "none"}, "embedding": {"n_codebooks": 24}},
    "llama-like": LLAMA,
    "wide heads": {**LLAMA, "d_ff": 64, "attention": {"d_head": 256, "n_kv_heads": 1}},
    "windowed": {**LLAMA, "attention": {"n_kv_heads": 2, "window": 16}},
    "windows in turn": {**LLAMA, "attention": {"window": 16, "window_pattern": "LG", "qk_norm": "per_head"}},
    "chunked": {**LLAMA, "attention": {"n_kv_heads": 2, "window": 20, "chunked": True, "temperature_scale": 0.1}},
    "temperatures": {"position": ROPE, "attention": {"temperature_scale": 0.1, "window": 16, "window_pattern": "LG"}},
    "dynamic mask": {
        **LLAMA, "attention": {"n_kv_heads": 2, "dynamic_mask_top_k": 300}, "block": {"skip_weight": True},
    },
    "dynamic mask that selects": {**LLAMA, "attention": {"n_kv_heads": 2, "dynamic_mask_top_k": 16}},
    "dynamic mask of all heads": {**LLAMA, "attention": {"dynamic_mask_top_k": 64, "qk_norm": "per_head"}},
    "dynamic mask in windows": {**LLAMA, "attention": {"n_kv_heads": 1, "window": 60, "dynamic_mask_top_k": 20}},
    "latent temperatures": {"position": ROPE, "attention": {**LATENT, "temperature_scale": 0.1}},
    "weighted inputs of experts": {**LLAMA, "feed_forward": {"n_experts": 8, "router_weight_on_input": True}},
    "fading": {"position": {"kind": "alibi"}},
    "fading in windows": {"position": {"kind": "alibi"}, "attention": {"window": 16, "window_pattern": "LG"}},
    "norms after the additions": {"norm": {"placement": "post_residual", "kind": "rmsnorm"}},
    "norm after experts": {**LLAMA, "feed_forward": {"gated": True, "n_experts": 8, "d_expert": 192, "out_norm": True}},
    "norms of branches": {
        **LLAMA, "norm": {"kind": "rmsnorm", "placement": "sandwich"},
        "feed_forward": {
            "gated": True, "n_experts": 8, "d_expert": 192, "n_shared_experts": 1, "branch_norms": True,
            "expert_scale": True, "router": "softmax",
        },
    },
    "experts": {**LLAMA, "feed_forward": {"gated": True, "n_experts": 8, "d_expert": 192}},
    "experts of latent vectors": {
        **LLAMA, "feed_forward": {"gated": True, "n_experts": 8, "top_k": 4, "d_expert": 192, "d_latent": 32},
    },
    "experts of wide latent vectors": {
        **LLAMA, "norm": {"kind": "rmsnorm", "placement": "sandwich"},
        "feed_forward": {
            "gated": True, "n_experts": 8, "d_expert": 16, "n_shared_experts": 1, "branch_norms": True, "top_k": 1,
            "d_latent": 512,
        },
    },
    "many experts": {
        "feed_forward": {
            "n_experts": 64, "top_k": 6, "d_expert": 32, "n_shared_experts": 2, "n_dense_layers": 1,
            "d_shared_expert": 1024, "shared_expert_gate": True,
            "router": "sigmoid", "n_groups": 8, "top_k_groups": 4, "score_correction": True,
        }
    },
    "soft-caps": {"position": ROPE, "attention": {"logit_softcap": 50.0, "window": 16, "window_pattern": "LG"}},
    "sinks": {"position": ROPE, "attention": {"sinks": True, "n_kv_heads": 2}},
    "mixture of heads": {**LLAMA, "attention": {"n_kv_heads": 2, "n_experts": 4}},
    "mixture of narrow heads": {
        "position": ROPE, "attention": {"d_head": 8, "n_kv_heads": 1, "n_experts": 16, "bias": False, "out_bias": True},
    },
    "gated attention": {**LLAMA, "attention": {"d_head": 128, "n_kv_heads": 1, "gate": True}},
    "softplus gates": {**LLAMA, "attention": {"gate": True, "gate_activation": "softplus"}},
    "attention gated by head": {**LLAMA, "attention": {"gate": True, "gate_per_head": True}},
    "latent with a gate": {"position": ROPE, "attention": {**LATENT, "gate": True}},
    "latent": {"position": ROPE, "attention": LATENT},
    "latent without RoPE": {"position": {"kind": "none"}, "attention": LATENT},
    "latent with an indexer": {
        "position": ROPE,
        "attention": {**LATENT, "q_rank": 96, "index_top_k": 24, "index_n_heads": 4, "index_d_head": 32},
    },
    "hyper-connections": {**LLAMA, "block": {"hyper_streams": 4}},
    "streams of AltUp": {**LLAMA, "block": {"altup_streams": 4}},
    "streams of AltUp beside narrow layers": {
        "d_ff": 16, "block": {"altup_streams": 6}, "norm": {"kind": "rmsnorm", "placement": "sandwich"},
        "embedding": {"d_per_layer": 16, "per_layer_vocab_size": 200},
    },
    "learned residuals": {**LLAMA, "block": {"laurel_rank": 16}},
    "wide learned residuals": {"d_ff": 16, "norm": {"kind": "rmsnorm"}, "block": {"laurel_rank": 512}},
    "sparse activations": {
        "norm": {"kind": "rmsnorm"}, "feed_forward": {"gated": True, "activation_sparsity": 0.9},
    },
    "looped": {**LLAMA, "loop": {"n_loops": 2, "n_prelude_layers": 1, "inject": True}},
    "two modules in turn": {**LLAMA, "loop": {"n_loops": 2, "n_low_layers": 1, "n_low_loops": 2}},
    "a narrow loop": {"d_ff": 16, "block": {"mixer": "none"}, "loop": {"n_loops": 3, "inject": True}},
    "latent with shared selections": {
        "position": ROPE,
        "attention": {**LATENT, "q_rank": 96, "index_top_k": 24, "index_n_heads": 4, "index_d_head": 32},
        "layers": {"pattern": "own, shared", "kinds": {"own": {}, "shared": {"attention": {"index_shared": True}}}},
    },
    "latent with a wide indexer": {
        "position": ROPE, "attention": {**LATENT, "q_rank": 32, "index_top_k": 300, "index_n_heads": 16},
    },
    "latent, wider": {"position": ROPE, "attention": {**LATENT, "kv_rank": 256, "q_rank": 96, "d_nope": 128}},
    "norms on both sides": {"norm": {"placement": "sandwich"}, "feed_forward": {"gated": True, "clamp": 7.0}},
    "side by side": {"block": {"parallel": True}, "feed_forward": {"activation": "quick_gelu"}},
    "short convolutions": {**LLAMA, "position": {}, "attention": {}, "block": {"mixer": "short_conv"}},
    "long convolutions": {
        "block": {"mixer": "short_conv", "feed_forward": False},
        "short_conv": {"kernel_size": 64, "bias": True},
    },
    "selective states": {
        "block": {"mixer": "mamba"}, "mamba": {"norm": "weighted", "d_state": 4, "chunk_len": 256},
    },
    "selective states in chunks": {
        "block": {"mixer": "mamba", "feed_forward": False}, "position": {"kind": "none"}, "mamba": {"chunk_len": 32},
    },
    "gated recurrence": {"block": {"mixer": "rg_lru"}, "rg_lru": {"n_blocks": 4, "d_inner": 512}},
    "time mixing": {"block": {"mixer": "rwkv"}, "position": {"kind": "none"}},
    "channel mixing": {"block": {"mixer": "none"}, "feed_forward": {"channel_mixing": True, "activation": "relu2"}},
    "narrow time mixing": {"block": {"mixer": "rwkv"}, "rwkv": {"d_inner": 16}},
    "state spaces": {"block": {"mixer": "mamba2", "feed_forward": False}, "position": {"kind": "none"}},
    "state spaces in groups": {
        "block": {"mixer": "mamba2"},
        "mamba2": {"n_groups": 4, "d_head": 32, "d_state": 64, "chunk_len": 16, "bias": True, "norm": "full"},
    },
    "large states": {"block": {"mixer": "mamba2"}, "mamba2": {"n_heads": 1, "d_state": 512, "norm": "none"}},
    "gated delta rule": {**LLAMA, "position": {}, "attention": {}, "block": {"mixer": "gated_deltanet"}},
    "gated delta rule in long chunks": {
        "block": {"mixer": "gated_deltanet"},
        "gated_deltanet": {"n_key_heads": 1, "d_key": 8, "d_value": 8, "chunk_len": 256},
    },
    "gated delta rule of many heads": {
        "block": {"mixer": "gated_deltanet", "feed_forward": False},
        "gated_deltanet": {"n_key_heads": 4, "n_value_heads": 8, "d_key": 32, "d_value": 16, "chunk_len": 32},
    },
    "channel decays": {**LLAMA, "position": {}, "attention": {}, "block": {"mixer": "kimi_delta_attention"}},
    "bounded channel decays in long chunks": {
        "block": {"mixer": "kimi_delta_attention"},
        "kimi_delta_attention": {"n_heads": 1, "d_head": 8, "chunk_len": 256, "max_decay_rate": 5.0, "gate_rank": 8},
    },
    "channel decays of many heads": {
        "block": {"mixer": "kimi_delta_attention", "feed_forward": False},
        "kimi_delta_attention": {"n_heads": 8, "d_head": 16, "chunk_len": 32},
    },
    "constant decays": {**LLAMA, "position": {}, "attention": {}, "block": {"mixer": "lightning_attention"}},
    "constant decays in chunks": {
        "block": {"mixer": "lightning_attention", "feed_forward": False},
        "lightning_attention": {"n_heads": 8, "d_head": 16, "chunk_len": 32},
    },
    "constant decays of large states": {
        "block": {"mixer": "lightning_attention"},
        "lightning_attention": {"n_heads": 1, "d_head": 512, "chunk_len": 256},
    },
    "zero-computation experts": {
        **LLAMA, "feed_forward": {"gated": True, "n_experts": 8, "n_zero_experts": 64, "d_expert": 192},
    },
    "experts that the next layer adds": {
        **LLAMA, "feed_forward": {"gated": True, "n_experts": 8, "d_expert": 192, "n_shared_experts": 1},
        "layers": {
            "pattern": "experts, dense", "kinds": {
                "experts": {"feed_forward": {"shortcut": True}}, "dense": {"feed_forward": {"n_experts": None}},
            },
        },
    },
    "exponential gates": {
        **LLAMA, "position": {}, "attention": {}, "block": {"mixer": "mlstm"}, "mlstm": {"n_heads": 8},
    },
    "exponential gates in chunks": {
        "block": {"mixer": "mlstm", "feed_forward": False},
        "mlstm": {"n_heads": 8, "d_key": 8, "d_value": 16, "chunk_len": 32, "gate_softcap": 15.0},
    },
    "exponential gates of large memories": {
        "block": {"mixer": "mlstm"}, "mlstm": {"n_heads": 1, "d_key": 256, "d_value": 512, "chunk_len": 256},
    },
    "attention beside state spaces": {**LLAMA, "block": {"mixer": "attention_mamba2"}},
    "state spaces of several heads": {"block": {"mixer": "mamba"}, "mamba": {"n_heads": 8}},
    "block shared by state spaces": {**LLAMA, "block": {"mixer": "shared_block_mamba2"}},
    "wide block shared by state spaces": {
        "position": ROPE, "attention": {"d_head": 64, "qk_norm": "full"}, "norm": {"kind": "rmsnorm"},
        "block": {"mixer": "shared_block_mamba"}, "mamba": {"d_inner": 16, "d_state": 1},
    },
    "shared attention": {
        "attention": {"d_head": 64, "n_kv_heads": 1, "qk_norm": "per_head"},
        "block": {"mixer": "shared_block_mamba", "feed_forward": False}, "mamba": {"d_inner": 16, "d_state": 1},
    },
    "only attention": {"block": {"feed_forward": False}},
    "only feed-forward": {"block": {"mixer": "none"}},
    "differences": {**LLAMA, "attention": {"n_kv_heads": 2, "differential": True}},
    "differences of all heads": {"attention": {"differential": True, "logit_softcap": 5.0, "gate": True}},
    "differences in windows": {"position": ROPE, "attention": {"differential": True, "window": 16}},
    "keys as values": {
        **LLAMA, "attention": {"n_kv_heads": 2, "v_norm": True, "keys_as_values": True, "qk_norm": "full"},
    },
    "normalized values": {
        "position": {**ROPE, "proportional": True, "rotary_fraction": 0.5}, "block": {"layer_scalar": True},
        "attention": {"v_norm": True, "qk_norm": "per_head", "gate": True, "gate_per_head": True},
    },
    "dense layer before the head": {
        "d_model": 1024, "d_ff": 16, "head": {"dense": True, "dense_activation": "quick_gelu"},
        "block": {"mixer": "none"},
    },
    "narrow values": {**LLAMA, "attention": {"d_head": 64, "n_kv_heads": 2, "d_value": 8, "gate": True}},
    "wide values": {
        "position": ROPE, "attention": {"d_head": 16, "d_value": 128, "n_kv_heads": 2, "v_norm": True, "window": 16},
    },
    "norms before output projections": {
        **LLAMA, "attention": {"n_kv_heads": 2, "sub_norm": True}, "feed_forward": {"gated": True, "sub_norm": True},
    },
    "norms of wide outputs": {
        "attention": {"d_head": 128, "n_kv_heads": 1, "sub_norm": True, "gate": True}, "norm": {"kind": "rmsnorm"},
        "feed_forward": {"activation": "relu2", "sub_norm": True},
    },
    "shared keys and values": {
        **LLAMA, "attention": {"n_kv_heads": 4}, "layers": {
            "pattern": "own, reuse", "kinds": {"own": {}, "reuse": {"attention": {"kv_from": "own"}}},
        },
    },
    "shared keys and values of windows": {
        **LLAMA, "attention": {"n_kv_heads": 2, "window": 16, "sinks": True}, "layers": {
            "pattern": "own, reuse", "kinds": {"own": {}, "reuse": {"attention": {"kv_from": "own"}}},
        },
    },
    "embeddings of each layer": {**LLAMA, "embedding": {"d_per_layer": 48}},
    "of xIELU": {"feed_forward": {"activation": "xielu"}},
    "of gated xIELU": {"feed_forward": {"activation": "xielu", "gated": True}},
    "of squared ReLU": {"feed_forward": {"activation": "relu2"}},
}  # fmt: skip
DTYPES = [torch.float32, torch.bfloat16]


def named(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def in_turn(cases: Sequence[tuple[Any, ...]], first: int) -> list[Any]:
    """Return every model with every case, in one dtype each: neighbors among models and among cases differ in it."""
    return [
        pytest.param(name, *case, dtype, id="-".join(map(str, (name, *case, named(dtype)))))
        for number, name in enumerate(MODELS, start=first)
        for dtype, case in zip(islice(cycle(DTYPES), number % 2, None), cases, strict=False)
    ]


def test_router_biases_stay_float32() -> None:
    experts = ["feed_forward.n_experts=8", "feed_forward.router=sigmoid", "feed_forward.n_dense_layers=1"]
    plain = load_config("tiny", experts).config
    corrected = load_config("tiny", [*experts, "feed_forward.score_correction=true"]).config
    for dtype in ("float32", "bfloat16", "float64"):
        assert weights_bytes(corrected, dtype) - weights_bytes(plain, dtype) == 3 * 8 * 4


def config_of(name: str) -> ModelConfig:
    sizes = {"vocab_size": 300, "d_model": 128, "n_heads": 4, "n_layers": 2, "d_ff": 512, "max_len": 256}
    return ModelConfig.model_validate({**sizes, **MODELS[name]})


@given(small_configs())
@settings(max_examples=50)
def test_build_bytes_equal_the_model(config: ModelConfig) -> None:
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        model = TinyTransformerLM.from_config(config, device="meta", dtype=dtype)
        held = sum(parameter.nbytes for parameter in model.parameters()) + sum(b.nbytes for b in model.buffers())
        assert weights_bytes(config, named(dtype)) == held


def test_bytes_of_modules() -> None:
    """The estimate is above Python's own allocations, since torch adds a few hundred bytes to each tensor in C++."""
    config = load_config("tiny", ["n_layers=200"]).config
    TinyTransformerLM.from_config(config, device="meta")
    tracemalloc.start()
    model = TinyTransformerLM.from_config(config, device="meta")
    held_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    n_tensors = sum(1 for _ in model.named_parameters(remove_duplicate=False))
    assert module_bytes(config) == n_tensors * OBJECT_BYTES
    assert 0.5 * module_bytes(config) < held_bytes < module_bytes(config)


def test_most_tensors_of_a_model() -> None:
    n_layers = (MAX_TENSORS - 4) // 16  # 16 tensors in a layer, 4 outside
    assert module_bytes(load_config("tiny", [f"n_layers={n_layers}"]).config) == (16 * n_layers + 4) * OBJECT_BYTES
    with pytest.raises(CapacityError, match=f"{n_layers + 1:,} layers have 500,004 parameter tensors"):
        module_bytes(load_config("tiny", [f"n_layers={n_layers + 1}"]).config)


@pytest.mark.parametrize(("name", "batch_size", "seq_len", "dtype"), in_turn([(1, 1), (3, 40), (1, 256)], 0))
def test_forward_bytes_within_estimate(
    name: str, batch_size: int, seq_len: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tinylm_cli.model.forward_trace.TIMED_SECONDS", 0.0)
    config = config_of(name)
    model = TinyTransformerLM.from_config(config, dtype=dtype)
    tokens = torch.randint(
        config.vocab_size, config.tokens_shape(batch_size, seq_len), generator=torch.Generator().manual_seed(0)
    )
    peak = peak_bytes(lambda: run_forward(model, tokens, name=name, source=name, untrained=True))
    estimate = forward_bytes(config, batch_size=batch_size, seq_len=seq_len, dtype=named(dtype))
    assert peak <= estimate <= FACTOR * peak + SLACK


@pytest.mark.parametrize(("name", "prompt_len", "max_new_tokens", "dtype"), in_turn([(3, 6), (254, 3)], 1))
def test_decode_bytes_within_estimate(
    name: str, prompt_len: int, max_new_tokens: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "inference_mode", torch.no_grad)  # in which operations are seen in all their parts
    config = config_of(name)
    model = TinyTransformerLM.from_config(config, dtype=dtype)
    prompt = torch.randint(
        config.vocab_size, config.tokens_shape(1, prompt_len), generator=torch.Generator().manual_seed(0)
    )
    peak = peak_bytes(lambda: model.generate(prompt, max_new_tokens, top_p=0.9))
    estimate = decode_bytes(config, prompt_len=prompt_len, max_new_tokens=max_new_tokens, dtype=named(dtype))
    assert peak <= estimate <= FACTOR * peak + SLACK


@pytest.mark.parametrize(("name", "kernel", "dtype"), in_turn([("sdpa",), ("math",)], 0))
def test_running_bytes_within_estimate(
    name: str, kernel: Any, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One prompt in one pass, and one more token of each sequence, whichever kernels torch takes."""
    if kernel == "math":  # of all heads at once, in every release of torch
        monkeypatch.setattr("tinylm_cli.model.sdpa.FUSED_GQA_ON_CPU", True)
    config, batch_size, seq_len = config_of(name), 2, 200
    model = TinyTransformerLM.from_config(config, dtype=dtype).eval()
    cache = KVCache(config, batch_size=batch_size, capacity=seq_len, device=torch.device("cpu"), dtype=dtype)
    tokens = torch.randint(
        config.vocab_size, config.tokens_shape(batch_size, seq_len), generator=torch.Generator().manual_seed(0)
    )
    alone = KVCache(config, batch_size=1, capacity=seq_len, device=torch.device("cpu"), dtype=dtype)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH) if kernel == "math" else nullcontext():
        one_more(model, tokens[:, :-1], cache)
        passes = ((tokens[:1, :-1], alone), (tokens[:, -1:], cache))
        prefill, decode = [peak_bytes(partial(one_more, model, read, kept)) for read, kept in passes]
    serving = ServingSetup(dtype=named(dtype), attention_kernel=kernel, device="cpu")
    found = inference_memory(config, serving._replace(batch_size=batch_size, seq_len=seq_len))
    assert prefill <= found.prefill_bytes <= FACTOR * prefill + SLACK
    assert decode <= found.decode_bytes <= FACTOR * decode + SLACK


def one_more(model: TinyTransformerLM, tokens: torch.Tensor, cache: KVCache) -> torch.Tensor:
    logits = model.logits(model.hidden(tokens, cache=cache)[:, -1])
    return SamplingParams(top_p=0.9).sample(logits, None)


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("the course's", 2 * 2 * 128 * 100),
        ("llama-like", 2 * 2 * 64 * 100),
        ("windowed", 2 * 2 * 64 * 16),
        ("windows in turn", 2 * 128 * (16 + 100)),
        ("latent", 2 * (64 + 16) * 100),
        ("shared keys and values", 2 * 128 * 100),
        ("short convolutions", 2 * 2 * 128),
        ("long convolutions", 2 * 63 * 128),
        ("only feed-forward", 0),
    ],
)
def test_cache_bytes_equal_the_estimate(name: str, numbers: int) -> None:
    config = config_of(name)
    for dtype in DTYPES:
        cache = KVCache(config, batch_size=3, capacity=100, device=torch.device("cpu"), dtype=dtype)
        estimate = kv_cache_bytes(config, batch_size=3, seq_len=100, dtype=named(dtype))
        assert cache.nbytes == estimate == 3 * numbers * dtype.itemsize


def test_bytes_grow_with_tokens() -> None:
    huge = load_config("small", ["vocab_size=100000000"]).config
    logits = 10**15 * (256 + 10**8) * 8
    estimate = forward_bytes(huge, batch_size=10**6, seq_len=10**9, dtype="float64")
    assert logits <= estimate <= logits + 10**12
    one, seven = (forward_bytes(huge, batch_size=n, seq_len=n, dtype="float32") for n in (1, 7))
    assert one < 7 * one < seven


@pytest.mark.parametrize(("dtype", "element_bytes"), [("bfloat16", 2), ("float32", 4)])
@pytest.mark.parametrize(("d_model", "chunk"), [(4096, 3 * 7 * 4096), (1 << 18, 1 << 18)])
def test_statistics_of_narrow_layers(d_model: int, chunk: int, dtype: str, element_bytes: int) -> None:
    """Attention with one head of two dimensions takes less than five outputs of a stage and their statistics."""
    sizes = (f"d_model={d_model}", "n_heads=1", "attention.d_head=2", "block.feed_forward=false", "vocab_size=2")
    narrow = load_config("tiny", [*sizes, "position.kind=none"]).config
    found = forward_bytes(narrow, batch_size=3, seq_len=7, dtype=dtype)
    assert found == SLACK + 5 * 3 * 7 * d_model * element_bytes + chunk * 3 * 8


def test_logits_of_a_large_vocabulary() -> None:
    wide = load_config("tiny", ["vocab_size=1000000"]).config
    assert decode_bytes(wide, prompt_len=1, max_new_tokens=1, dtype="bfloat16") == 36 * 10**6 + SLACK


def test_longest_meta_pass() -> None:
    require_short_meta_pass(load_config("tiny", [f"n_layers={MAX_META_LAYERS}"]).config)
    with pytest.raises(
        CapacityError, match="a pass through 1,500 layers on the meta device would take about 15 second"
    ):
        require_short_meta_pass(load_config("tiny", ["n_layers=1500"]).config)
