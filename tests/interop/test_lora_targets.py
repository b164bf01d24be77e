"""The modules and parameters of adapters, against peft on the models of transformers."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest

from tests.interop.changes import CONFIGS
from tinylm_cli.analysis.tensor_table import stored_shapes
from tinylm_cli.config.lora import Lora
from tinylm_cli.config.source import Source
from tinylm_cli.errors import AnalysisError, ConfigError
from tinylm_cli.interop import lora_modules
from tinylm_cli.interop.adapter_config import parse_adapter
from tinylm_cli.interop.load import load_config
from tinylm_cli.interop.lora_targets import resolve_lora

Keys = dict[str, Any]

LAYERS = {"gpt2": "n_layer", "bloom": "n_layer"}


def resolve(reference: str, **keys: Any) -> Lora:
    loaded = load_config(reference)
    return resolve_lora(parse_adapter(Source("adapter", json.dumps(keys))), loaded, stored_shapes(loaded.config))


def config_file(folder: Path, family: str, layers: int) -> str:
    body = json.loads((CONFIGS / f"{family}.json").read_text(encoding="utf-8"))
    body[LAYERS.get(family, "num_hidden_layers")] = layers
    body.pop("layer_types", None)
    (folder / "config.json").write_text(json.dumps(body), encoding="utf-8")
    return str(folder / "config.json")


EXPERTS = ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]

CASES: list[tuple[str, int, Keys]] = [
    ("llama", 2, {"target_modules": ["q_proj", "v_proj"]}),
    ("llama", 2, {"target_modules": "all-linear", "exclude_modules": ["down_proj", "self_attn.k_proj"]}),
    ("llama", 2, {"target_modules": r".*\.layers\.1\.self_attn\.(q|o)_proj", "exclude_modules": r".*o_proj"}),
    ("llama", 2, {"target_modules": ["model.layers.1.self_attn.q_proj", "down_proj"]}),
    (
        "llama",
        4,
        {
            "target_modules": ["q_proj", "v_proj"],
            "layers_to_transform": [1, 3],
            "rank_pattern": {"v_proj": 9, r"layers\.3\.self_attn\.q_proj": 2},
        },
    ),
    ("llama", 4, {"target_modules": ["q_proj"], "layers_to_transform": 2, "layers_pattern": "layers"}),
    ("qwen3", 2, {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"], "bias": "all"}),  # a tied head
    ("qwen3", 2, {"target_modules": ["q_proj"], "modules_to_save": ["norm", "embed_tokens"]}),
    ("qwen3", 2, {"target_modules": ["up_proj"], "trainable_token_indices": [1, 2, 3]}),
    ("qwen3", 2, {"target_modules": ["up_proj"], "trainable_token_indices": {"embed_tokens": [7]}}),
    ("qwen2", 2, {"target_modules": ["q_proj", "o_proj"], "bias": "lora_only"}),
    ("qwen2", 2, {"target_modules": ["q_proj"], "bias": "all", "lora_bias": True}),
    ("gemma3_text", 2, {"target_modules": ["lm_head", "q_proj"]}),
    ("gpt2", 2, {"target_modules": ["c_attn", "wte"], "fan_in_fan_out": True}),  # fused q/k/v, stored (in, out)
    ("gpt2", 2, {"target_modules": ["c_attn", "c_proj"], "fan_in_fan_out": True, "use_dora": True}),
    ("phi3", 2, {"target_modules": ["qkv_proj", "gate_up_proj"]}),
    ("gpt_neox", 2, {"target_modules": ["query_key_value"], "bias": "lora_only"}),
    ("falcon", 2, {"target_modules": "all-linear"}),
    ("bloom", 2, {"target_modules": "all-linear", "use_rslora": True}),
    ("mixtral", 1, {"target_modules": "all-linear"}),
    ("mixtral", 1, {"target_modules": ["q_proj", "w1", "w2", "w3"]}),
    ("mixtral", 1, {"target_parameters": EXPERTS}),
    ("qwen3_moe", 1, {"target_modules": ["q_proj", "gate_proj", "up_proj", "down_proj"]}),
    ("qwen3_moe", 1, {"target_modules": r".*\.(q_proj|gate_proj|up_proj)"}),
    ("qwen3_moe", 1, {"target_modules": ["k_proj"], "target_parameters": EXPERTS[:1]}),
    ("gpt_oss", 1, {"target_modules": ["q_proj"], "target_parameters": EXPERTS}),
    ("deepseek_v3", 4, {"target_modules": "all-linear"}),
    ("qwen3_next", 4, {"target_modules": "all-linear"}),
    ("qwen3_next", 4, {"target_modules": ["in_proj_qkvz", "out_proj", "o_proj"]}),
]


def built(path: str) -> Any:
    """Return the model of transformers on meta."""
    import torch
    import transformers

    with torch.device("meta"):
        return transformers.AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
            transformers.AutoConfig.from_pretrained(path)
        )


@pytest.mark.parametrize(("family", "layers", "keys"), CASES)
def test_peft(family: str, layers: int, keys: Keys, tmp_path: Path) -> None:
    """Trained parameters, all parameters, and the name and shape of each tensor of the adapter's file."""
    import peft
    import torch

    path = config_file(tmp_path, family, layers)
    ours = resolve(path, r=4, **keys)
    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("ignore")
        model = built(path)
        base = sum(parameter.numel() for parameter in model.parameters())
        adapted = peft.get_peft_model(model, peft.LoraConfig(task_type="CAUSAL_LM", r=4, **keys))
        stored = peft.get_peft_model_state_dict(adapted, save_embedding_layers=False)
    trained, total = adapted.get_nb_trainable_parameters()
    assert (trained, total) == (ours.trainable_params, base + ours.adapter_params + ours.saved_params)
    biases = keys.get("bias", "none") != "none"  # of the model itself, which the file holds too
    shapes = {name: tuple(each.shape) for name, each in stored.items()}
    assert dict(ours.tensors()) == {
        name: shape for name, shape in shapes.items() if not (biases and name.endswith("bias") and "lora_" not in name)
    }


def test_kernels_of_mamba(tmp_path: Path) -> None:
    """Peft rejects adapters of out_proj in these families, which the kernels read."""
    import peft

    path = config_file(tmp_path, "mamba2", 1)
    for targets in ("all-linear", ["in_proj", "out_proj"]):
        with pytest.raises(ValueError, match="'out_proj' is incompatible"):
            peft.get_peft_model(built(path), peft.LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=targets))
        with pytest.raises(ConfigError, match="peft adds no adapters to out_proj in mamba2") as raised:
            resolve(path, r=4, target_modules=targets)
        assert raised.value.diagnostics[0].help == "add out_proj to exclude_modules"
        kept = resolve(path, r=4, target_modules=targets, exclude_modules=["out_proj"])
        assert kept.leaf_names == ("in_proj",)


def test_presets() -> None:
    """The names of the family that expresses a preset or, if it has no such module, those of tinylm."""
    assert resolve("gpt2", r=8, target_modules=["c_attn"]).trainable_params == 12 * 8 * (768 + 2304)
    assert resolve("gpt2", r=8, target_modules=["q_proj"]).trainable_params == 12 * 8 * (768 + 768)
    assert resolve("gpt2", r=8, target_modules=r"blocks\.0\..*\.up_proj").trainable_params == 8 * (768 + 3072)
    assert resolve("tiny", r=8, target_modules="all-linear").trainable_params == 4 * 8 * (4 * 256 + 2 * 640)
    names = [name for name, _ in resolve("tiny", r=8, target_modules=["lm_head"]).tensors()]
    assert names == ["base_model.model.lm_head.lora_A.weight", "base_model.model.lm_head.lora_B.weight"]
    experts = {"target_parameters": ["feed_forward.experts.up_proj.weight"]}
    moe = resolve("mixtral-8x7b", r=2, target_parameters=["mlp.experts.down_proj"])
    assert moe.trainable_params == 32 * 2 * 8 * (14336 + 4096)
    with pytest.raises(ConfigError, match="no tensor that an adapter can belong to"):
        resolve("mixtral-8x7b", r=2, **experts)


def test_published_counts() -> None:
    """Llama 3 8B: 4,096 wide, 1,024 for keys and values, 14,336 hidden units, 32 layers.

    6,815,744 and 41,943,040 are the counts that peft prints in tutorials of this model.
    """
    assert resolve("llama-3-8b", r=16, target_modules=["q_proj", "v_proj"]).trainable_params == 6_815_744
    every = resolve("llama-3-8b", r=16, target_modules="all-linear")
    assert every.trainable_params == 41_943_040 == 32 * 16 * (2 * 8192 + 2 * 5120 + 3 * 18432)


@pytest.mark.parametrize(
    ("keys", "code", "message", "remedy"),
    [
        ({"target_modules": ["q_porj"]}, "unknown-choice", "q_porj: no linear module or embedding", "mean q_proj?"),
        ({"target_modules": ["mlp"]}, "unknown-choice", "mlp: no linear module", "embed_tokens, lm_head, q_proj"),
        ({"target_modules": r".*\.fc1"}, "unknown-choice", "fc1: no linear module", "q_proj, k_proj, v_proj, o_proj"),
        ({"target_parameters": ["mlp.experts.up"]}, "unknown-choice", "no tensor that", "this model has none"),
        (
            {"target_modules": ["q_proj"], "layers_to_transform": [99]},
            *("unknown-choice", "the adapter belongs to no module", "modules of this model are embed_tokens"),
        ),
        (
            {"target_modules": ["q_proj"], "exclude_modules": ["q_proj"]},
            *("unknown-choice", "the adapter belongs to no module", ""),
        ),
        ({"target_modules": ["q_proj"], "modules_to_save": ["lm_haed"]}, "unknown-choice", "lm_haed", "mean lm_head?"),
        (
            {"target_modules": ["q_proj"], "trainable_token_indices": {"wte": [1]}},
            *("unknown-choice", "trainable_token_indices wte", "embed_tokens, lm_head"),
        ),
        ({"target_modules": ["embed_tokens"], "use_dora": True}, "unsupported-setting", "for embeddings", "to false"),
        (
            {"target_modules": ["q_proj"], "use_dora": True, "lora_bias": True},
            *("contradiction", "lora_bias cannot be combined with use_dora", "one of them"),
        ),
        ({"target_modules": ["q_proj"], "ensure_weight_tying": True}, "unsupported-setting", "ensure_w", "to false"),
    ],
)
def test_errors(keys: Keys, code: str, message: str, remedy: str) -> None:
    with pytest.raises(ConfigError) as raised:
        resolve("llama-3-8b", **keys)
    (found,) = raised.value.diagnostics
    assert found.code == code
    assert message in found.message
    assert remedy in found.help


def test_unread_parts_of_multimodal_models() -> None:
    """Names of the vision encoder, which is not read, are no errors."""
    path = str(CONFIGS / "qwen2_5_vl.json")
    both = resolve(path, r=4, target_modules=["q_proj", "fc1"])
    assert both.trainable_params == resolve(path, r=4, target_modules=["q_proj"]).trainable_params
    spelled = resolve(path, r=4, target_modules=r"model\.language_model\.layers\.\d+\.self_attn\.q_proj")
    assert spelled.trainable_params == both.trainable_params


def test_shared_blocks() -> None:
    """Peft adds adapters to each use of a block, whose weights the uses share."""
    with pytest.raises(AnalysisError, match="adapters of blocks that layers share are not counted"):
        resolve(str(CONFIGS / "zamba2.json"), target_modules=["q_proj"])


def test_too_many_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lora_modules, "MAX_TENSORS", 100)
    with pytest.raises(AnalysisError, match="more than 100 tensors"):
        resolve("llama-3-8b", target_modules=["q_proj"])


def test_linear_modules() -> None:
    """Of small configs of every kind of family, ``all-linear`` selects the modules that transformers makes linear."""
    import torch
    from transformers.pytorch_utils import Conv1D

    for family in ("bloom", "olmo2", "gemma2", "starcoder2", "cohere", "bamba", "rwkv", "gptj", "smollm3", "glm4"):
        path = str(CONFIGS / f"{family}.json")
        model = built(path)
        linear = {name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear | Conv1D)}
        head = next(name for name, module in model.named_modules() if module is model.get_output_embeddings())
        assert {each.name for each in resolve(path, target_modules="all-linear").modules} == linear - {head}
