"""Parameters of adapters: sums, layers in ranges, and the names of tensors."""

from __future__ import annotations

from typing import Any

from tinylm_cli.analysis.lora import lora_params
from tinylm_cli.config.lora import Lora, LoraConfig, LoraModule, SavedModule
from tinylm_cli.reports.params import LoraParams

CONFIG = LoraConfig("adapter", rank=4, target_modules=())


def module(layer: int, name: str = "q_proj", **changes: Any) -> LoraModule:
    own = LoraModule(f"model.layers.{layer}.{name}", "linear", (f"blocks.{layer}.{name}",), layer, 10, 6, rank=4)
    return own._replace(**changes)


def params(*modules: LoraModule, saved: tuple[SavedModule, ...] = (), biases: int = 0, **keys: Any) -> LoraParams:
    options = {name: keys.pop(name) for name in ("tensors", "expand") if name in keys}
    return lora_params(Lora(CONFIG._replace(**keys), modules, saved, biases), 1000, **options)


def test_sums() -> None:
    """A rank of 4 between 10 and 6 dimensions: 4 · 10 + 6 · 4 = 64 for each module."""
    lora = params(module(0), module(1), saved=(SavedModule("head", (("head.weight", (5, 6)),)),), biases=7)
    assert (lora.adapter_params, lora.saved_params, lora.bias_params) == (128, 30, 7)
    assert lora.trainable_params == 165
    assert lora.total_params == 1000 + 128 + 30  # biases belong to the model
    assert lora.trainable_share == 165 / 1158
    assert lora.adapter_bytes == 4 * 165
    (row,) = lora.modules
    assert (row.name, row.count, row.params, row.share) == ("model.layers.{0..1}.q_proj", 2, 128, 128 / 165)


def test_vectors_of_each_output() -> None:
    assert params(module(0), lora_bias=True).adapter_params == 64 + 6
    assert params(module(0), use_dora=True).adapter_params == 64 + 6


def test_experts() -> None:
    """Each of 3 experts has an adapter: A is (12, 10), B is (6, 12)."""
    lora = params(module(0, kind="parameter", n_experts=3), tensors=True)
    assert lora.adapter_params == 3 * 64
    assert [tensor.shape for tensor in lora.tensors] == [(12, 10), (6, 12)]


def test_layers_in_ranges() -> None:
    """Modules of other ranks are apart, as are modules outside the layers."""
    head = module(0)._replace(name="lm_head", layer=None)
    mixed = [module(n, rank=8 if n == 3 else 4) for n in (0, 1, 3, 4, 5, 9)]
    rows = params(*mixed, head).modules
    assert [(row.name, row.count, row.rank) for row in rows] == [
        ("model.layers.{0..1, 4..5, 9}.q_proj", 5, 4),
        ("model.layers.3.q_proj", 1, 8),
        ("lm_head", 1, 4),
    ]


def test_tensors() -> None:
    folded, expanded = (params(module(0), module(1), tensors=True, expand=expand).tensors for expand in (False, True))
    assert [(each.name, each.count, each.shape, each.params) for each in folded] == [
        ("base_model.model.model.layers.{0..1}.q_proj.lora_A.weight", 2, (4, 10), 80),
        ("base_model.model.model.layers.{0..1}.q_proj.lora_B.weight", 2, (6, 4), 48),
    ]
    assert [each.name.removeprefix("base_model.model.model.layers.") for each in expanded] == [
        "0.q_proj.lora_A.weight",
        "0.q_proj.lora_B.weight",
        "1.q_proj.lora_A.weight",
        "1.q_proj.lora_B.weight",
    ]
    assert params(module(0)).tensors == ()


def test_a_rank_above_the_matrix() -> None:
    assert params(module(0, rank=6)).notes == ()
    (note,) = params(module(0, rank=7)).notes
    assert note == "rank 7 is above the rank of model.layers.0.q_proj, which is at most 6"
