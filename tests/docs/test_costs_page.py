"""The worked examples of docs/costs.md equal the results of the formulas."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tinylm_cli.analysis.estimate import estimate
from tinylm_cli.analysis.flops import analyze_flops, matmul_groups
from tinylm_cli.analysis.inference_memory import inference_memory
from tinylm_cli.analysis.kv_cache import cache_shape, kv_cache_bytes
from tinylm_cli.analysis.optimizer_state import optimizer_bytes
from tinylm_cli.analysis.params import total_params
from tinylm_cli.analysis.quantization import quantized_weights
from tinylm_cli.analysis.remedies import MAX_GPUS, MIN_LENGTH_CANDIDATES
from tinylm_cli.analysis.setups import QuantizationConfig, ServingSetup, Setups, TrainingSetup
from tinylm_cli.analysis.tensor_table import tensor_table
from tinylm_cli.analysis.training_memory import training_memory
from tinylm_cli.cli.wording import as_options
from tinylm_cli.config.hardware import load_accelerators
from tinylm_cli.interop.load import load_config
from tinylm_cli.quantities import binary_bytes
from tinylm_cli.render.terminal import Terminal
from tinylm_cli.render.text import to_text
from tinylm_cli.render.units import flops
from tinylm_cli.render.views.remedies import fit_blocks
from tinylm_cli.reports.choices import AttentionKernel, Optimizer
from tinylm_cli.reports.memory import TrainingMemory
from tinylm_cli.reports.plan import Layout, Plan

PATH = Path(__file__).resolve().parents[2] / "docs" / "costs.md"
PAGE = PATH.read_text(encoding="utf-8")
ZERO_1 = Layout(data=8, zero=1)


def example(title: str) -> str:
    """Return the text under a heading, on one line."""
    (found,) = re.findall(rf"^### {re.escape(title)}\n(.*?)(?=^#|\Z)", PAGE, flags=re.MULTILINE | re.DOTALL)
    return " ".join(found.split())


def test_flops_by_hand() -> None:
    config = load_config("llama-3-8b").config
    text = example("By hand: Llama 3 8B at 8,192 tokens")
    products = {p.name: p.flops for group in matmul_groups(config, seq_len=8192) for p in group.matmuls}
    weights = {name: count // (2 * 8192) for name, count in products.items()}
    attention = sum(count for name, count in weights.items() if name.endswith("proj") and "attention" in name)
    feed_forward = sum(count for name, count in weights.items() if "feed_forward" in name)
    pairs = products["attention.scores"] + products["attention.values"]
    report = analyze_flops(config, TrainingSetup(1, 8192))
    multiplied = 32 * (attention + feed_forward) + weights["lm_head"]
    for figure in (
        *(
            f"{count:,}"
            for count in (attention + feed_forward, attention, feed_forward, weights["lm_head"], multiplied)
        ),
        flops(2 * multiplied),
        flops(32 * pairs / 8192),
        flops(report.forward_flops_per_token),
        flops(report.train_flops_per_token),
        f"6N gives {flops(report.six_n_flops_per_token)}.",
    ):
        assert figure in text, figure


def test_remedies(golden: Callable[[Path, str], None]) -> None:
    loaded, accelerators = load_config("llama-3-8b"), load_accelerators()
    h100 = accelerators["h100-sxm"]
    found = estimate(
        loaded, Setups.of(seq_len=8192, n_gpus=8, layout=ZERO_1), h100, accelerators=tuple(accelerators.values())
    )
    example = re.compile(r"(?<=<!-- fit -->\n```text\n).*?(?=^```$)", re.DOTALL | re.MULTILINE)
    assert len(example.findall(PAGE)) == 1
    assert found.training is not None
    shown = to_text(fit_blocks(found.training.fit, h100.name, as_options), Terminal(width=80))
    golden(PATH, example.sub(lambda _: shown, PATH.read_text(encoding="utf-8")))
    assert f"up to {MAX_GPUS:,} GPUs" in PAGE
    assert f"at most a {MIN_LENGTH_CANDIDATES}th of the length" in PAGE


def test_caches_by_hand() -> None:
    text = example("By hand: three caches at 8,192 tokens")
    for name in ("llama-3-8b", "gemma-2-2b", "deepseek-v2-lite"):
        config = load_config(name).config
        assert f"{kv_cache_bytes(config, batch_size=1, seq_len=8192, dtype='bfloat16'):,}" in text, name
    llama, deepseek = (cache_shape(load_config(name).config, "bfloat16") for name in ("llama-3-8b", "deepseek-v2-lite"))
    assert f"{llama.token_bytes:,} bytes per token" in text
    assert f"{llama.multi_head_token_bytes:,} bytes per token" in text
    assert f"{deepseek.token_bytes:,} bytes per token" in text


def figures() -> dict[str, int]:
    """Return the last cell of each row of the memory example, by its first."""
    example = PAGE.partition("## Memory")[2].partition("\n## ")[0].partition("**Worked example.**")[2]
    rows = re.findall(r"^\| \**([^|*]+?)\** \|[^|]*\|[^|]*\| \**([\d,]+)\** \|$", example, re.MULTILINE)
    return {name: int(value.replace(",", "")) for name, value in rows}


def gpt2(**asked: Any) -> TrainingMemory:
    return training_memory(load_config("gpt2").config, TrainingSetup(batch_size=8, seq_len=1024, **asked))


def test_training_memory_of_gpt2() -> None:
    found = gpt2()
    kept = found.activations
    outside = {part.name: part.saved_bytes for part in kept.outside}
    (layer,) = kept.layers
    assert figures() == {
        "one layer": layer.layer_bytes,
        "all layers": layer.count * layer.layer_bytes,
        "embedding": outside["embedding"],
        "final norm and head": outside["ln_f"] + outside["lm_head"],
        "loss": outside["loss"],
        "activations": kept.saved_bytes,
        "weights": found.weights_bytes,
        "master weights, AdamW": found.master_bytes + found.optimizer_bytes,
        "gradients of the logits": found.timeline[0].working_bytes,
        "peak, at the loss": found.peak_bytes,
    }
    assert found.peak_phase == "loss"
    full = gpt2(recompute="full")
    assert f"{full.activations.saved_bytes:,} bytes and the peak to {full.peak_bytes:,}" in " ".join(PAGE.split())


def test_kernels() -> None:
    text = " ".join(PAGE.split())
    gemma = load_config("gemma-2-2b").config
    asked: dict[str, Any] = {"batch_size": 1, "seq_len": 8192, "dtype": "bfloat16"}
    kernels: tuple[AttentionKernel, ...] = ("flash", "sdpa", "math")
    flash, sdpa, written = (
        binary_bytes(training_memory(gemma, TrainingSetup(**asked, attention_kernel=kernel)).peak_bytes)
        for kernel in kernels
    )
    assert f"trains in {flash} with `flash`, and in {sdpa} with `sdpa` or `math`." in text
    assert sdpa == written
    root = 4 * total_params(tensor_table(load_config("llama-3-8b").config))
    assert f"{binary_bytes(root)} for Llama 3 8B." in text


def test_prefill_of_latent_attention() -> None:
    text = " ".join(PAGE.split())
    config = load_config("deepseek-v2-lite").config
    serving = ServingSetup(prefill_tokens=config.max_len)
    flash, written = (
        inference_memory(config, serving._replace(attention_kernel=kernel)) for kernel in ("flash", "math")
    )
    weights, cache, vectors = map(binary_bytes, (flash.weights_bytes, flash.cache_bytes, flash.prefill_bytes))
    assert (
        f"prefilling {config.max_len:,} tokens with DeepSeek-V2-Lite takes {weights} of weights, {cache} of cache and "
        f"{vectors} of activations" in text
    )
    assert f"{flash.prefill_bytes // (2 * config.max_len):,} elements per token" in text
    assert f"Materialized scores would take {binary_bytes(written.prefill_bytes)}." in text


def test_optimizers_by_hand() -> None:
    text = example("By hand: optimizer state of GPT-2")
    config = load_config("gpt2").config
    table = tensor_table(config)
    shapes = [tensor.shape for section in table for tensor in section.tensors * section.repeats if not tensor.tied_to]
    matrices, vectors = [s for s in shapes if len(s) == 2], [s for s in shapes if len(s) == 1]
    hidden = 12 * (4 * 768**2 + 2 * 768 * 3072)
    sums = sum(map(sum, matrices)), sum(map(sum, vectors))
    for number in (total_params(table), len(shapes), hidden, 12 * 6, len(matrices), *sums, sum(sums)):
        assert f"{number:,}" in text, number
    kept: tuple[Optimizer, ...] = ("adamw", "sgd_momentum", "muon", "adafactor")
    for optimizer in kept:
        assert f"{optimizer_bytes(table, optimizer, 4):,}" in text, optimizer


def test_quantization_by_hand() -> None:
    text = example("By hand: Llama 3 8B quantized")
    config = load_config("llama-3-8b").config
    maps = [(4096, 4096)] * 2 + [(1024, 4096)] * 2 + [(14336, 4096)] * 2 + [(4096, 14336)]
    weights, outputs = (32 * sum(each) for each in ([rows * inputs for rows, inputs in maps], [r for r, _ in maps]))
    others = total_params(tensor_table(config)) - weights
    for number in (weights, others, 2 * others + 256, outputs, 2 * outputs, weights // 2, weights // 128):
        assert f"{number:,}" in text, number
    assert f"{weights // 128 * 5 // 2:,}" in text
    for quantization, size in (("int8", weights + 2 * outputs), ("int4", weights // 2 + weights // 128 * 5 // 2)):
        found, rounded = quantized_weights(config, "bfloat16", QuantizationConfig(quantization))  # type: ignore[arg-type]
        assert (found, rounded) == (2 * others + 256 + size, weights)
        assert f"{found:,} in total" in text


def test_plans_by_hand() -> None:
    text = example("By hand: Llama 3 8B on many GPUs")
    loaded = load_config("llama-3-8b")
    parameters = total_params(tensor_table(loaded.config))

    def planned(layout: Layout) -> Plan:
        setups = Setups.of(seq_len=8192, n_gpus=layout.n_gpus, layout=layout)
        found = estimate(loaded, setups, purpose="training").training
        assert found is not None
        assert found.plan is not None
        return found.plan

    shared = planned(Layout(data=64, zero=1))
    parts = {part.name: part.part_bytes for part in shared.peak_stage.parts}
    assert parts["weights"] == 2 * parameters + 256, "and the rotary frequencies"
    assert parts["gradients"] == 2 * parameters
    assert parts["master weights"] == 4 * parameters // 64
    assert 0 <= parts["optimizer state"] - 8 * parameters // 64 < 64, "and step counters"
    for number in (parameters, 2 * parameters, 4 * parameters // 64, 8 * parameters // 64, 4 * parameters * 63 // 64):
        assert f"{number:,}" in text, number
    assert [each.sent_bytes for each in shared.traffic] == [4 * parameters * 63 // 64]
    stream = 8192 * 4096 * 2
    sent = (10 * 32 + 5) * stream * 7 // 8
    assert f"{stream:,}" in text
    assert f"{sent:,} bytes" in text
    assert [each.sent_bytes for each in planned(Layout(tensor=8)).traffic] == [sent]
