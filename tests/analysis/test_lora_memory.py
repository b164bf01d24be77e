"""Memory and FLOPs of training with adapters, compared with peft's adapters in tinylm's module."""

from __future__ import annotations

from functools import partial
from random import Random
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.scaled import scaled_down
from benchmarks.torch_memory import OPTIMIZERS, TrainingSteps, random_batch, saved_bytes
from tests.live_memory import peak_bytes
from tests.lora_model import adapted_model, adapters
from tinylm_cli.analysis.flops import analyze_flops, train_flops
from tinylm_cli.analysis.setups import QuantizationConfig, TrainingSetup
from tinylm_cli.analysis.training_memory import training_memory
from tinylm_cli.config.layer_kinds import without_mtp
from tinylm_cli.config.lora import Lora, SavedModule
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import AnalysisError
from tinylm_cli.interop.load import load_config
from tinylm_cli.model.sdpa import FUSED_GQA_ON_CPU

SAVED_BY_TORCH_2_9 = pytest.mark.skipif(
    not FUSED_GQA_ON_CPU, reason="before torch 2.9, attention and norms save other tensors than the closed form counts"
)
DTYPES = {"bfloat16": torch.bfloat16, "float64": torch.float64}
SMALL = ("n_layers=2", "d_model=16", "n_heads=2", "d_ff=24", "vocab_size=64", "max_len=32")
ALL = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def small(name: str, *changes: str) -> ModelConfig:
    return load_config(name, [*SMALL, *changes]).config


def on(config: ModelConfig, *names: str, rank: int = 3, **keys: Any) -> Lora:
    return adapters(config, lambda module: rank if module.name.endswith(names) else 0, **keys)


def both(config: ModelConfig, lora: Lora, *, batch_size: int, dtype: str, math: bool) -> tuple[int, int]:
    """Return the saved bytes predicted and measured."""
    kernel: Any = "math" if math else "sdpa"
    setup = TrainingSetup(batch_size, 8, dtype, attention_kernel=kernel, device="cpu", lora=lora)
    predicted = training_memory(config, setup).activations.saved_bytes
    model = adapted_model(config, lora, DTYPES[dtype])
    assert sum(each.numel() for each in model.parameters() if each.requires_grad) == lora.trainable_params
    return predicted, saved_bytes(model, batch_size, 8, math=math)


LATENT = ("attention.kv_rank=6", "attention.d_nope=4", "attention.d_rope=2")

SUPPORTED = [
    *("deepseek-v2-lite", "deepseek-v3", "gemma-2-2b", "gemma-3-1b", "glm-4.5-air", "gpt-oss-20b", "gpt2", "kimi-k2"),
    *("llama-2-7b", "llama-3-8b", "llama-3.2-1b", "llama-4-scout", "minimax-m2", "mistral-7b", "mixtral-8x7b"),
    *("nanochat-d20", "olmo-2-7b", "olmo-3-7b", "phi-3-mini", "pythia-160m", "qwen2.5-0.5b", "qwen3-0.6b"),
    *("qwen3-30b-a3b", "qwen3-8b", "smollm3-3b", "qwen3.5-9b", "qwen3.5-35b-a3b", "lfm2-1.2b", "mamba2-2.7b"),
    *("nemotron-h-8b", "granite-4.0-h-micro", "granite-4.0-h-small", "falcon-h1-0.5b"),
]
"""The architectures of published models whose memory with adapters is computed."""


def architecture(name: str) -> ModelConfig:
    return without_mtp(scaled_down(load_config(name).config))


@SAVED_BY_TORCH_2_9
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", SUPPORTED)
def test_saved_tensors(name: str, seed: int) -> None:
    """Adapters of random ranks on random linear modules, the head among them: equal to the byte."""
    random = Random(f"{name} {seed}")
    config = architecture(name).model_copy(update={"dropout": random.choice([0.0, 0.1])})
    lora = adapters(config, lambda _: random.randrange(4), dropout=random.choice([0.0, 0.2]))
    dtype, math = random.choice(["float64", "bfloat16"]), random.random() < 0.5
    predicted, measured = both(config, lora, batch_size=random.choice([1, 2]), dtype=dtype, math=math)
    assert predicted == measured


@SAVED_BY_TORCH_2_9
@pytest.mark.parametrize(
    "changes",
    [
        ["feed_forward.activation=relu"],
        ["feed_forward.activation=relu2"],
        ["norm.placement=post"],
        ["norm.placement=sandwich", "norm.kind=rmsnorm"],
        ["block.parallel=true"],
        ["attention.gate=true"],
        ["attention.sub_norm=true", "feed_forward.sub_norm=true"],
        ["attention.qk_norm=per_head", "norm.kind=rmsnorm", "norm.zero_centered=true"],
        ["position.kind=alibi"],
        ["head.logit_softcap=5.0"],
        ["head.kind=token_classification", "tie_weights=false"],
        ["block.feed_forward=false"],
        ["feed_forward.n_experts=4", "feed_forward.n_shared_experts=1", "feed_forward.shared_expert_gate=true"],
        ["feed_forward.n_experts=4", "feed_forward.router_weight_on_input=true"],
        ["attention.kind=latent", *LATENT, "position.kind=rope"],
    ],
)
@pytest.mark.parametrize(
    "names", [("q_proj", "v_proj"), ("o_proj", "down_proj"), ("up_proj", "kv_b_proj", "k_proj", "gate")]
)
def test_parts(changes: list[str], names: tuple[str, ...]) -> None:
    config = small("tiny", *changes)
    lora = on(config, *names, lora_bias=True)
    predicted, measured = both(config, lora, batch_size=2, dtype="float64", math=False)
    assert predicted == measured


def measured_peak(config: ModelConfig, lora: Lora, setup: TrainingSetup) -> tuple[int, int]:
    """Return the bytes that stay allocated in a step, and the peak of what it allocates."""
    assert setup.seq_len is not None
    model = adapted_model(config, lora)
    batch = random_batch(config, setup.batch_size, setup.seq_len)
    steps = TrainingSteps(model, OPTIMIZERS["adamw"], recompute=setup.recompute == "full")
    steps.run_step(*batch)  # when the states of the optimizer exist
    states = (each for optimizer in steps.optimizers for state in optimizer.state.values() for each in state.values())
    held = {each.untyped_storage()._cdata: each for each in (*model.parameters(), *model.buffers(), *states)}
    resident = sum(each.untyped_storage().nbytes() for each in held.values())
    return resident, peak_bytes(partial(steps.run_step, *batch))


@SAVED_BY_TORCH_2_9
@pytest.mark.parametrize("name", ["llama-3-8b", "gpt2", "gemma-2-2b", "mixtral-8x7b", "qwen3-8b", "lfm2-1.2b"])
@pytest.mark.parametrize("names", [("q_proj", "v_proj"), ("_proj",)])
@pytest.mark.parametrize(
    ("recompute", "vocab", "within"), [("none", 512, 0.01), ("none", 32, 0.06), ("full", 32, 0.12)]
)
def test_peak(name: str, names: tuple[str, ...], recompute: Any, vocab: int, within: float) -> None:
    """At the loss, or with a small vocabulary in the backward pass of a layer."""
    config = architecture(name).model_copy(update={"vocab_size": vocab, "dropout": 0.0})
    lora = on(config, *names, rank=4)
    setup = TrainingSetup(2, 64, "float32", "sdpa", "cpu", recompute, master_weights=False, lora=lora)
    found = training_memory(config, setup)
    resident, peak = measured_peak(config, lora, setup)
    assert found.resident_bytes == resident
    assert found.peak_bytes - resident == pytest.approx(peak, rel=within)


@pytest.mark.parametrize("name", ["llama-3-8b", "gpt2", "mixtral-8x7b", "deepseek-v2-lite"])
def test_flops(name: str) -> None:
    """Torch counts no gradients of frozen weights, and the matmuls of the adapters."""
    config = architecture(name).model_copy(update={"dropout": 0.0})
    lora = on(config, "q_proj", "v_proj", "kv_b_proj", "down_proj", "lm_head", rank=4)
    steps = TrainingSteps(adapted_model(config, lora), OPTIMIZERS["adamw"], recompute=False)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        steps.run_step(*random_batch(config, 2, 16))
    found = analyze_flops(config, TrainingSetup(2, 16, lora=lora), attention="full")
    assert found.train_flops == counter.get_total_flops()
    assert found.train_flops == train_flops(config, batch_size=2, seq_len=16, attention="full", lora=lora)
    assert found.adapter_flops == 2 * 2 * 16 * sum(module.params for module in lora.modules)
    again, plain = (
        analyze_flops(config, TrainingSetup(2, 16, recompute="full", lora=each), attention="full").recompute_flops
        for each in (lora, None)
    )
    in_layers = sum(module.params for module in lora.modules if module.layer is not None)
    assert again - plain == 2 * 2 * 16 * in_layers


LLAMA = load_config("llama-3-8b").config


def llama(**keys: Any) -> Any:
    """Llama 3 8B with rank 16 on queries and values: 32 × 16 × (2 · 4096 + 5120) = 6,815,744 parameters."""
    lora = on(LLAMA, "q_proj", "v_proj", rank=16)
    return training_memory(LLAMA, TrainingSetup(1, 2048, lora=lora, **keys))


def test_resident() -> None:
    """In bfloat16: 2 bytes of each frozen weight; 2 + 4 + 8 of each trained one, and a step counter per tensor."""
    trained, frozen, frequencies = 6_815_744, 8_030_261_248, 4 * 64
    found = llama()
    assert found.weights_bytes == 2 * frozen + frequencies + 2 * trained
    assert (found.master_bytes, found.gradients_bytes) == (4 * trained, 2 * trained)
    assert found.optimizer_bytes == 8 * trained + 4 * (32 * 2 * 2)
    assert found.lora is not None
    assert (found.lora.trainable_params, found.lora.base_dtype) == (trained, "bfloat16")
    assert found.lora.dequantized_bytes == 0
    assert llama(optimizer="sgd").optimizer_bytes == 0


def test_quantized() -> None:
    """NF4 with double quantization: 4 bits, a byte per 64 weights, a float32 per 256 of those, and two tables."""
    found = llama(quantization=QuantizationConfig("nf4"))
    matrices = [(4096, 4096), (1024, 4096), (1024, 4096), (4096, 4096), *[(14336, 4096)] * 3]
    layer = sum(n * k // 2 + n * k // 64 + 4 * (n * k // 64 // 256) + 4 * (256 + 16) for n, k in matrices)
    others = 2 * (2 * 128256 * 4096 + 65 * 4096)  # embedding, head and norms in bfloat16
    assert found.lora is not None
    assert found.lora.base_bytes == 32 * layer + others + 4 * 64
    assert (found.lora.base_dtype, found.lora.dequantized_bytes) == ("nf4", 2 * 14336 * 4096)
    plain = llama()
    working = [
        quantized.working_bytes - each.working_bytes
        for quantized, each in zip(found.timeline, plain.timeline, strict=True)
        if each.name == "backward"
    ]
    assert set(working) == {2 * 14336 * 4096}
    assert llama(quantization=QuantizationConfig("int8")).weights_bytes > found.weights_bytes


def test_head_copy() -> None:
    """A trained copy of the head: weight, float32 copy, moments and gradient, and its saved input."""
    base = on(LLAMA, "q_proj", rank=16)
    head = SavedModule("lm_head", (("lm_head.weight", (128256, 4096)),), is_head=True)
    with_head = Lora(base.config, base.modules, (head,), 0)
    setup = TrainingSetup(1, 2048)
    one, other = (training_memory(LLAMA, setup._replace(lora=lora)) for lora in (base, with_head))
    size = 128256 * 4096
    assert other.resident_bytes - one.resident_bytes == (2 + 4 + 8) * size + 4
    assert other.gradients_bytes - one.gradients_bytes == 2 * size
    assert other.activations.saved_bytes - one.activations.saved_bytes == 2 * 2048 * 4096
    more = [analyze_flops(LLAMA, setup._replace(lora=lora)).train_flops for lora in (base, with_head)]
    assert more[1] - more[0] == 2 * 2048 * size


@pytest.mark.parametrize(
    ("name", "keys", "words"),
    [
        ("jamba-v0.1", {}, "of the mixer mamba"),
        ("gemma-4-e2b", {}, "of per-layer embeddings"),
        ("llama-3-8b", {"use_dora": True}, "of DoRA"),
    ],
)
def test_unsupported(name: str, keys: dict[str, Any], words: str) -> None:
    config = load_config(name).config
    lora = on(config, "q_proj")
    lora = Lora(lora.config._replace(**keys), lora.modules, (), 0)
    with pytest.raises(AnalysisError, match=f"with adapters, the training memory {words} is not computed"):
        training_memory(config, TrainingSetup(1, 8, lora=lora))


def test_unsupported_adapters() -> None:
    lora = on(LLAMA, "q_proj")
    embedding, expert = (lora.modules[0]._replace(kind=kind) for kind in ("embedding", "parameter"))
    copied = SavedModule("embed_tokens", (("embed_tokens.weight", (4, 4)),))
    for other, words in (
        (Lora(lora.config, (embedding,), (), 0), "of embeddings"),
        (Lora(lora.config, (expert,), (), 0), "of stacked weights of experts"),
        (Lora(lora.config, lora.modules, (copied,), 0), "of copies of other modules"),
    ):
        with pytest.raises(AnalysisError, match=words):
            training_memory(LLAMA, TrainingSetup(1, 8, lora=other))
