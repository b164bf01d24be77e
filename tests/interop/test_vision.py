"""Parameters of vision encoders against the modules of transformers, for drawn sizes of every kind."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
import torch

from tests.interop.changes import CONFIGS
from tinylm_cli.interop.load import load_config
from tinylm_cli.interop.vision import vision_params

os.environ["HF_HUB_OFFLINE"] = "1"
transformers = pytest.importorskip("transformers")

TEXT = {
    "vocab_size": 32, "hidden_size": 24, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 12,
    "num_hidden_layers": 1, "intermediate_size": 8, "max_position_embeddings": 32,
}  # fmt: skip
VIT = {
    "hidden_size": 12, "intermediate_size": 20, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 28,
    "patch_size": 7,
}  # fmt: skip
QWEN = {
    "depth": 3, "num_heads": 2, "patch_size": 7, "temporal_patch_size": 3, "spatial_merge_size": 3,
    "hidden_size": 16, "intermediate_size": 20, "out_hidden_size": 24, "num_position_embeddings": 25,
}  # fmt: skip
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "siglip": ("gemma3", {"vision_config": {"model_type": "siglip_vision_model", **VIT, "vision_use_head": False}}),
    "siglip with a head": ("gemma3", {"vision_config": VIT}),
    "clip": ("llava", {"vision_config": {"model_type": "clip_vision_model", **VIT}}),
    "llama4": ("llama4", {
        "vision_config": {**VIT, "projector_input_dim": 6, "projector_output_dim": 10, "vision_output_dim": 14},
    }),
    "default llama4": ("llama4", {}),
    "default clip": ("llava", {}),
    "clip, two layers": ("llava", {
        "vision_config": {"model_type": "clip_vision_model", **VIT}, "vision_feature_layer": [-1, -2],
        "multimodal_projector_bias": False,
    }),
    "llava with siglip": ("llava", {"vision_config": {"model_type": "siglip_vision_model", **VIT}}),
    "llava with pixtral": ("llava", {"vision_config": {"model_type": "pixtral", **VIT}}),
    "llava-next": ("llava_next", {"vision_config": {"model_type": "clip_vision_model", **VIT}}),
    "default llava-next": ("llava_next", {}),
    "llava-onevision": ("llava_onevision", {"vision_config": VIT, "vision_feature_layer": [-1, -2]}),
    "default llava-onevision": ("llava_onevision", {}),
    "paligemma": ("paligemma", {"vision_config": VIT, "projection_dim": 24}),
    "default paligemma": ("paligemma", {}),
    "idefics3": ("idefics3", {"vision_config": VIT, "scale_factor": 3}),
    "default idefics3": ("idefics3", {}),
    "smolvlm": ("smolvlm", {"vision_config": VIT, "scale_factor": 3}),
    "default smolvlm": ("smolvlm", {}),
    "internvl": ("internvl", {"vision_config": VIT, "downsample_ratio": 0.25}),
    "internvl with options": ("internvl", {
        "vision_config": {
            **VIT, "image_size": [28, 28], "patch_size": [7, 7], "attention_bias": True, "norm_type": "rms_norm",
            "use_qk_norm": True, "use_mask_token": True, "use_mean_pooling": False,
            "use_absolute_position_embeddings": False,
        },
    }),
    "default internvl": ("internvl", {}),
    "aya": ("aya_vision", {"vision_config": VIT, "downsample_factor": 3, "alignment_intermediate_size": 10}),
    "pixtral": ("mistral3", {"vision_config": {"model_type": "pixtral", **VIT}, "spatial_merge_size": 3}),
    "pixtral with biases": ("mistral3", {
        "vision_config": {"model_type": "pixtral", **VIT}, "multimodal_projector_bias": True,
    }),
    "qwen2": ("qwen2_vl", {"vision_config": {**QWEN, "embed_dim": 16, "hidden_size": 24, "mlp_ratio": 3}}),
    "qwen2.5": ("qwen2_5_vl", {"vision_config": QWEN}),
    "qwen3": ("qwen3_vl", {"vision_config": {**QWEN, "deepstack_visual_indexes": [0, 2]}}),
    "qwen3 without deep merges": ("qwen3_vl", {"vision_config": {**QWEN, "deepstack_visual_indexes": []}}),
    "qwen3.5": ("qwen3_5", {"vision_config": QWEN}),
    "default qwen3.5": ("qwen3_5", {}),
}  # fmt: skip
TEXT_TYPES = {
    "aya_vision": "cohere2",
    "internvl": "qwen2",
    "llava": "llama",
    "llava_next": "llama",
    "mistral3": "mistral",
    "paligemma": "gemma",
    "smolvlm": "llama",
}


@pytest.mark.parametrize("case", CASES)
def test_against_transformers(case: str) -> None:
    family, keys = CASES[case]
    text = TEXT | ({"model_type": TEXT_TYPES[family]} if family in TEXT_TYPES else {})
    config = transformers.AutoConfig.for_model(family, text_config=text, **keys)
    with torch.device("meta"):
        theirs = transformers.AutoModelForImageTextToText.from_config(config)
    parts = {
        "encoder": ("vision_tower", "vision_model", "visual"),
        "projector": ("multi_modal_projector", "merger", "image_newline", "connector"),
    }
    counted = dict.fromkeys(parts, 0)
    for name, parameter in theirs.named_parameters():
        is_projector = any(part in name for part in parts["projector"])
        if is_projector or any(part in name for part in parts["encoder"]):
            counted["projector" if is_projector else "encoder"] += parameter.numel()
    found = vision_params(family, keys, TEXT["hidden_size"])
    assert found is not None
    assert found._asdict() == counted


def test_default_sizes_of_aya_vision() -> None:
    """transformers 5.24 cannot build its default encoder, whose heads do not divide its width."""
    written = transformers.AutoConfig.for_model("aya_vision").vision_config.to_dict()
    assert vision_params("aya_vision", {}, 24) == vision_params("aya_vision", {"vision_config": written}, 24)


@pytest.mark.parametrize(
    ("family", "published"),
    [
        ("gemma3", 4_300_079_472 - 3_880_263_168),  # Gemma 3 4B
        ("qwen3_5_moe", 446_571_248),  # Qwen3.5 35B-A3B
        ("internvl", 938_193_024 - 629_697_920),  # InternVL3 1B
        ("smolvlm", 507_482_304 - 409_252_800),  # SmolVLM2 500M
        ("llama4", 108_641_793_536 - 107_769_861_120),  # Llama 4 Scout
        ("paligemma", 2_923_466_480 - 2_508_662_784),  # PaliGemma 3B
        ("llava_next", 7_566_747_648 - 7_242_256_384),  # LLaVA-NeXT with Mistral 7B
    ],
)
def test_published(family: str, published: int) -> None:
    """The sample configs have the sizes of published checkpoints."""
    path = CONFIGS / f"{family}.json"
    found = vision_params(family, json.loads(path.read_text(encoding="utf-8")), load_config(str(path)).config.d_model)
    assert found is not None
    assert sum(found) == published


@pytest.mark.parametrize(
    ("family", "outer"),
    [
        ("got_ocr2", {"vision_config": VIT}),
        ("llama", {}),
        ("llava", {"vision_config": {"model_type": "internvit", **VIT}}),
        ("internvl", {"vision_config": VIT | {"image_size": [28, 14]}}),
        ("internvl", {"vision_config": VIT, "downsample_ratio": 0.0}),
        ("internvl", {"vision_config": VIT, "downsample_ratio": "half"}),
        ("gemma3", {"vision_config": []}),
        ("gemma3", {"vision_config": VIT | {"hidden_size": "wide"}}),
        ("gemma3", {"vision_config": VIT | {"hidden_size": True}}),
        ("gemma3", {"vision_config": VIT | {"hidden_size": 0}}),
        ("gemma3", {"vision_config": VIT | {"hidden_size": 10**9}}),
        ("qwen3_vl", {"vision_config": QWEN | {"deepstack_visual_indexes": 3}}),
    ],
)
def test_not_counted(family: str, outer: dict[str, Any]) -> None:
    assert vision_params(family, outer, 24) is None
