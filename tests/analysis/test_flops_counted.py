"""The closed form of a model's operations against torch's own counter, on the instantiated module."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint, set_checkpoint_early_stop
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

from benchmarks.scaled import architectures
from tests.random_configs import drawn, has_zero_experts, small_configs
from tinylm_cli.analysis.flops import analyze_flops, decode_flops, forward_flops, prefill_flops, train_flops
from tinylm_cli.analysis.layer_kinds import n_layer_runs
from tinylm_cli.analysis.setups import TrainingSetup
from tinylm_cli.analysis.tensor_table import tensor_table
from tinylm_cli.config.layer_kinds import layer_pattern, without_mtp
from tinylm_cli.config.presets import presets, shipped
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.load import load_config
from tinylm_cli.model import TinyTransformerLM
from tinylm_cli.model.kv_cache import KVCache
from tinylm_cli.reports.flops import ModelFlops

MODELS = [*presets(), *architectures()]
WINDOWED = [name for name, config in architectures().items() if config.attention.window is not None]

OTHER_BACKWARD = {"gated_deltanet", "kimi_delta_attention", "lightning_attention", "mlstm"}
"""Mixers whose backward pass does not have twice the matmuls of the forward one.

The gradient of a triangular system adds matmuls; the initial states of lightning attention and of mLSTM
have no gradient.
"""

TWICE_BACKWARD = [
    name
    for name in MODELS
    if OTHER_BACKWARD.isdisjoint(kind.block.mixer for kind in layer_pattern(load_config(name).config).kinds)
]

OUTSIDE_MAPS = {
    "attention": "attention_scores",
    "mamba": "mamba_scan",
    "mamba2": "mamba2_scan",
    "gated_deltanet": "delta_rule",
    "kimi_delta_attention": "delta_rule",
    "lightning_attention": "linear_attention",
    "mlstm": "linear_attention",
}
"""Of each mixer, the component that counts its matmuls outside linear maps and convolutions."""

META = torch.device("meta")

Shape = torch.Size


def without_dropout(config: ModelConfig) -> ModelConfig:
    return config.model_copy(update={"dropout": 0.0})


def one_of_each_layer(config: ModelConfig) -> ModelConfig:
    """Return the config with as few layers as hold a whole pattern of windows, a dense layer and one of experts.

    Of named kinds of layers, it has one each; of experts, at most two for each that a token selects.
    """
    feed_forward = config.feed_forward
    if feed_forward.n_experts is not None:
        selected = -(-feed_forward.top_k // feed_forward.top_k_groups)  # of each selected group
        n_experts = min(feed_forward.n_experts, 2 * selected * feed_forward.n_groups)
        config = config.model_copy(update={"feed_forward": feed_forward.model_copy(update={"n_experts": n_experts})})
    if config.layers.kinds:
        names = layer_pattern(config).names
        layers = config.layers.model_copy(update={"first": None, "pattern": ", ".join(names), "last": None})
        return config.model_copy(update={"layers": layers, "n_layers": len(names)})
    needed = max(2, len(config.attention.window_pattern), config.feed_forward.n_dense_layers + 1)
    return config.model_copy(update={"n_layers": min(config.n_layers, needed)})


def one_per_structure(names: Sequence[str]) -> list[str]:
    """Return the first model that has each set of layers: their mixers, attention, windows and experts."""
    first: dict[object, str] = {}
    for name in names:
        kinds = layer_pattern(load_config(name).config).kinds
        parts = [
            (kind.block.mixer, kind.attention.kind, kind.attention.window is None, kind.feed_forward.n_experts is None)
            for kind in kinds
        ]
        first.setdefault(frozenset(parts), name)
    return list(first.values())


def convolution_backward_flops(grad_shape: Shape, x_shape: Shape, w_shape: Shape, *settings: Any, **_: Any) -> int:
    """Return the FLOPs of the gradients of a convolution's input and weight, if they are computed.

    Each takes as many as the forward pass. Torch counts that of a depthwise weight as if every channel read all others.
    """
    *_settings, is_transposed, _output_padding, _groups, (of_input, of_weight, _of_bias) = settings
    forward = int(conv_flop_count(list(x_shape), list(w_shape), list(grad_shape), is_transposed))
    return forward * int(of_input + of_weight)


def added_matmul_flops(_sum: Shape, left: Shape, right: Shape, **_: Any) -> int:
    return 2 * left.numel() * right[-1]


def flop_counter() -> FlopCounterMode:
    """Return torch's counter, which also counts the matmul that is added in place."""
    mapping = {
        torch.ops.aten.convolution_backward: convolution_backward_flops,
        torch.ops.aten.baddbmm_: added_matmul_flops,
    }
    return FlopCounterMode(display=False, custom_mapping=mapping)


def counted(model: TinyTransformerLM, batch_size: int, seq_len: int, *, backward: bool = False) -> int:
    """Return the FLOPs that torch counts, of the forward pass or of both passes.

    On the CPU, torch counts the matmuls of the plain attention kernel, but nothing of the fused one.
    """
    shape = model.config.tokens_shape(batch_size, seq_len)
    tokens = torch.zeros(shape, dtype=torch.long, device=model.device)
    with sdpa_kernel(SDPBackend.MATH), flop_counter() as counter, torch.set_grad_enabled(backward):
        trains_modules = backward and model.config.head.n_mtp_layers > 0
        outputs = torch.stack(tuple(model.multi_token_logits(tokens))).sum(0) if trains_modules else model(tokens)
        if model.config.has_lm_head:
            assert outputs.shape == (*shape, model.config.vocab_size)
        if backward:
            outputs.sum().backward()
    return int(counter.get_total_flops())


@pytest.mark.parametrize("name", shipped())
def test_parts_sum_to_total(name: str) -> None:
    config = without_dropout(load_config(name).config)
    seq_len = min(48, config.max_len)
    by_part = analyze_flops(config, TrainingSetup(2, seq_len), attention="full")
    forward = forward_flops(config, batch_size=2, seq_len=seq_len, attention="full")
    assert by_part.forward_flops == forward == sum(part.forward_flops for part in by_part.components)
    assert forward == sum(part.forward_flops for part in by_part.layers)


@pytest.mark.parametrize("name", one_per_structure(TWICE_BACKWARD))
def test_gallery_train_flops(name: str) -> None:
    config = without_dropout(load_config(name).config)
    config = in_several_chunks(one_of_each_layer(config))
    seq_len = min(48, config.max_len)
    model = TinyTransformerLM.from_config(config, device="meta")
    trained = train_flops(config, batch_size=2, seq_len=seq_len, attention="full")
    assert trained == counted(model, 2, seq_len, backward=True)


@pytest.mark.parametrize("name", MODELS)
def test_gallery_forward_flops(name: str) -> None:
    """Of attention, what no linear map multiplies are scores; of a mixture, what no router does is the experts'.

    The layers are fewer, with the same remainder of the pattern of windows.
    """
    config = without_dropout(load_config(name).config)
    fewest = one_of_each_layer(config)
    remainder = (config.n_layers - fewest.n_layers) % len(config.attention.window_pattern)
    config = fewest.model_copy(update={"n_layers": fewest.n_layers + remainder})
    seq_len = min(48, config.max_len)
    model = TinyTransformerLM.from_config(config, device="meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(2, seq_len, dtype=torch.long, device=META))
    forward = forward_flops(config, batch_size=2, seq_len=seq_len, attention="full")
    assert forward == counter.get_total_flops()
    by_module = {module.partition(".")[2]: sum(count.values()) for module, count in counter.get_flop_counts().items()}
    expected: Counter[str] = Counter({"lm_head": by_module["lm_head"]})
    expected["per_layer_input"] = by_module.get("embedding.per_layer", 0)
    kinds = list(layer_pattern(config))
    named = list(dict.fromkeys(kind.block.shared_block for kind in kinds if "shared_block" in kind.block.mixer))
    maps_of_shared = dict.fromkeys(range(config.n_layers), 0)
    for layer, kind in enumerate(kinds):
        shares = "shared_block" in kind.block.mixer
        shared = f"shared_blocks.{named.index(kind.block.shared_block)}" if shares else ""
        for mixed_by in kind.block.mixers:
            mixer = f"{shared}.attention" if shares and mixed_by == "attention" else f"blocks.{layer}.{mixed_by}"
            maps = _inside(mixer, by_module)
            if mixed_by in OUTSIDE_MAPS:
                expected[mixed_by] += maps
                expected[OUTSIDE_MAPS[mixed_by]] += by_module[mixer] - maps
            else:
                expected[mixed_by] += by_module[mixer]
        expected["per_layer_input"] += by_module.get(f"blocks.{layer}.per_layer_input", 0)
        feed_forward = f"blocks.{layer}.feed_forward"
        if shares:
            feed_forward_maps = _inside(f"{shared}.feed_forward", by_module)
            maps_of_shared[layer] = _inside(f"{shared}.attention", by_module) + feed_forward_maps
            adapters = by_module.get(f"blocks.{layer}.adapters.feed_forward", 0)
            expected["feed_forward"] += feed_forward_maps + adapters + by_module[f"blocks.{layer}.shared_projection"]
            continue
        if not kind.block.feed_forward:
            continue
        router = by_module.get(f"{feed_forward}.router", 0)
        expected["router"] += router
        is_dense = kind.feed_forward.n_experts is None
        expected["feed_forward" if is_dense else "experts"] += by_module[feed_forward] - router
    found = analyze_flops(config, TrainingSetup(2, seq_len), attention="full")
    assert {part.name: part.forward_flops for part in found.components} == +expected
    each = Counter(by_module[f"blocks.{layer}"] - maps for layer, maps in maps_of_shared.items())
    assert _per_layer(found, "blocks.") == each
    assert _per_layer(found, "shared_blocks.") == Counter(maps for maps in maps_of_shared.values() if maps)


def _inside(module: str, by_module: Mapping[str, int]) -> int:
    """Return the FLOPs of the modules directly inside ``module``, such as the linear maps of a mixer."""
    depth = module.count(".") + 1
    return sum(n for name, n in by_module.items() if name.startswith(f"{module}.") and name.count(".") == depth)


def _per_layer(found: ModelFlops, prefix: str) -> Counter[int]:
    """Return how many layers, or passes of shared blocks, cost as many FLOPs."""
    layers: Counter[int] = Counter()
    for part in found.layers:
        if part.name.startswith(prefix):
            layers[part.forward_flops // part.count] += part.count
    return layers


@pytest.mark.parametrize("name", one_per_structure(TWICE_BACKWARD))
def test_recompute_flops(name: str) -> None:
    """Each layer whole: unless told otherwise, torch stops once it has what it kept nothing of."""
    config = without_dropout(load_config(name).config)
    config = in_several_chunks(one_of_each_layer(config))
    model = TinyTransformerLM.from_config(config, device="meta")
    for block in model.blocks:
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)
    with set_checkpoint_early_stop(False):
        again = counted(model, 2, 16, backward=True)
    assert again == train_flops(config, batch_size=2, seq_len=16, attention="full", recompute="full")


def convolution_step_flops(config: ModelConfig) -> int:
    """Return the FLOPs of a step of all convolutions: sums of products, which torch does not count."""
    return sum(
        2 * (section.repeats if section.layers is None else n_layer_runs(config, section.layers)) * tensor.elements
        for section in tensor_table(without_mtp(config))
        for tensor in section.tensors
        if tensor.name.endswith(".conv.weight")
    )


@settings(max_examples=drawn(30), deadline=None)
@given(config=small_configs())
def test_any_model_flops(config: ModelConfig) -> None:
    """Of a forward pass, of both passes, and of a decoding step, on the CPU: small tensors are slower on meta.

    Both passes are not compared where the backward pass is not twice the forward one: beside ``OTHER_BACKWARD``, a
    single chunk of a state-space model leaves its state unused.
    """
    config = without_dropout(config)
    model = TinyTransformerLM.from_config(config)
    predicted, measured = forward_flops(config, batch_size=3, seq_len=7, attention="full"), counted(model, 3, 7)
    if has_zero_experts(config):  # the figures are those of tokens that select none of them
        assert predicted >= measured
        return
    assert predicted == measured
    kinds = layer_pattern(config).kinds
    if all(_backward_is_twice_forward(kind, 7) for kind in kinds):
        trained = train_flops(config, batch_size=3, seq_len=7, attention="full")
        assert trained == counted(model, 3, 7, backward=True)
    model.eval()
    cache = KVCache(config, batch_size=1, capacity=9, device=model.device, dtype=model.dtype)
    read, new = (torch.zeros(config.tokens_shape(1, count), dtype=torch.long) for count in (8, 1))
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        model.hidden(read, cache=cache)
        with flop_counter() as counter:
            model.logits(model.hidden(new, cache=cache))
    assert counter.get_total_flops() + convolution_step_flops(config) == decode_flops(config, context_len=9)


def _backward_is_twice_forward(kind: ModelConfig, seq_len: int) -> bool:
    mixers = kind.block.mixers
    if "mamba2" in mixers and kind.mamba2.chunk_len >= seq_len:
        return False
    has_indexer = "attention" in mixers and kind.attention.has_indexer  # without gradients
    return not has_indexer and OTHER_BACKWARD.isdisjoint(mixers)


def in_several_chunks(config: ModelConfig) -> ModelConfig:
    """Return the config with Mamba-2 layers that divide the sequences of these tests."""
    return config.model_copy(update={"mamba2": config.mamba2.model_copy(update={"chunk_len": 8})})


@pytest.mark.parametrize("name", one_per_structure(MODELS))
def test_decode_flops(name: str) -> None:
    """Decoding reads what is cached; of latent attention, without expanding it."""
    config = without_dropout(load_config(name).config)
    config = one_of_each_layer(config)
    model = TinyTransformerLM.from_config(config, device="meta").eval()
    cache = KVCache(config, batch_size=1, capacity=40, device=META, dtype=torch.float32)
    read, new = (torch.zeros(1, count, dtype=torch.long, device=META) for count in (39, 1))
    with torch.no_grad():
        with flop_counter() as prefill:
            model.logits(model.hidden(read, cache=cache)[:, -1])
        with flop_counter() as decode:
            model.logits(model.hidden(new, cache=cache))
    assert decode.get_total_flops() + convolution_step_flops(config) == decode_flops(config, context_len=40)
    spare = forward_flops(config, batch_size=1, seq_len=39, attention="full") - forward_flops(
        config, batch_size=1, seq_len=39
    )
    assert prefill.get_total_flops() - spare == prefill_flops(config, batch_size=1, seq_len=39)


def test_mixed_windows() -> None:
    assert {load_config(name).config.attention.window for name in WINDOWED} >= {128, 512, 4096}


@pytest.mark.parametrize("name", WINDOWED)
def test_decode_flops_beyond_window(name: str) -> None:
    """A token meets as many positions as its layer's window holds; of others, all that were read."""
    config = without_dropout(load_config(name).config)
    assert config.attention.window is not None
    context_len = config.attention.window + 100
    assert context_len <= config.max_len
    config = one_of_each_layer(config)
    model = TinyTransformerLM.from_config(config, device="meta").eval()
    cache = KVCache(config, batch_size=1, capacity=context_len, device=META, dtype=torch.float32)
    read, new = (torch.zeros(1, count, dtype=torch.long, device=META) for count in (context_len - 1, 1))
    with torch.no_grad():
        model.hidden(read, cache=cache)
        with flop_counter() as decode:
            model.logits(model.hidden(new, cache=cache))
    found = decode_flops(config, context_len=context_len)
    assert decode.get_total_flops() + convolution_step_flops(config) == found
    assert found < decode_flops(unlimited(config), context_len=context_len)


def unlimited(config: ModelConfig) -> ModelConfig:
    """Return the same model without windows."""
    return config.model_copy(update={"attention": config.attention.model_copy(update={"window": None})})
