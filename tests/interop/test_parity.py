"""A tinylm model and the transformers model it came from compute the same, and export and import are exact."""

from __future__ import annotations

import inspect
import math
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.interop.empty_encoder import empty_encoder
from tests.interop.families import FAMILIES, VOCAB, configs
from tests.small_models import randomize
from tinylm_cli.config.canonical import canonical_fields
from tinylm_cli.config.loader import LoadedConfig
from tinylm_cli.interop import families
from tinylm_cli.interop.export_config import export_config
from tinylm_cli.interop.families import FAMILIES as RECORDS
from tinylm_cli.interop.load import import_config
from tinylm_cli.interop.weights.export_weights import export_model
from tinylm_cli.interop.weights.import_weights import import_weights
from tinylm_cli.interop.weights.load_model import open_model
from tinylm_cli.model import TinyTransformerLM
from tinylm_cli.model.checkpoint import load_model
from tinylm_cli.model.generation import decode
from tinylm_cli.model.sampling import SamplingParams

os.environ["HF_HUB_OFFLINE"] = "1"
transformers = pytest.importorskip("transformers")
transformers.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()

TOLERANCE = 1e-5
EXAMPLES = 2
LENGTH = 20

WITHOUT_CACHE_IN_OUTPUT = ("recurrent_gemma",)
"""Families whose code in transformers does not return the cache, so that it is given an empty one to fill."""

WITHOUT_CACHE = ("openai-gpt",)
"""Families whose code in transformers has no cache."""

WITHOUT_START = ("bamba",)
"""Families whose code in transformers begins at position 0 with a cache too, unless it is given the positions."""


SELECTS_BY_VALUES = ("doge",)
"""Families whose attention selects keys by their values: which of equal tokens it selects is left open."""


ONE_BY_ONE = ("rwkv",)
"""Families whose code in transformers mixes the sequences of a batch when it reads one token with a state."""


@contextmanager
def imported(family: str, keys: dict[str, Any]) -> Iterator[tuple[Any, LoadedConfig, TinyTransformerLM, Path]]:
    """Yield a random model of transformers, its config as ours reads it, the model as ours, and the folders' parent."""
    theirs = random_model(family, keys)
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent)
        theirs.save_pretrained(folder / "theirs")
        found = import_config(str(folder / "theirs"))
        import_weights(found.loaded.config, found.family, folder / "theirs", folder / "ours", config_text="")
        yield theirs, found.loaded, load_model(found.loaded.config, folder / "ours").eval(), folder


def random_model(family: str, keys: dict[str, Any]) -> Any:
    """Return a model of transformers whose norms and biases are as random as the rest."""
    config = transformers.AutoConfig.for_model(family, **keys)
    config._attn_implementation = config._experts_implementation = "eager"  # theirs of experts wants widths of 16 bytes
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    randomize(model)
    return model


def read_on(theirs: Any, tokens: Tensor, kept: Any, start: int) -> tuple[Tensor, Any]:
    """Return the logits of the next tokens, and what transformers keeps of them, by any of its names for that."""
    if theirs.config.model_type in ONE_BY_ONE:
        states = [None] * len(tokens) if kept is None else kept
        outs = [theirs(row[None], state=state, use_cache=True) for row, state in zip(tokens, states, strict=True)]
        return torch.cat([out.logits for out in outs]), [out.state for out in outs]
    accepted = inspect.signature(theirs.forward).parameters
    name = "cache" if "cache" in accepted else "past_key_values"
    if kept is None and theirs.config.model_type in WITHOUT_CACHE_IN_OUTPUT:
        kept = transformers.DynamicCache(config=theirs.config)
    keys: dict[str, Any] = {name: kept}
    if theirs.config.model_type in WITHOUT_START:
        keys["position_ids"] = torch.arange(start, start + tokens.shape[1])[None]
    out = theirs(tokens, use_cache=True, **keys)
    return out.logits, getattr(out, name, kept)


def ids(length: int = LENGTH) -> Tensor:
    """Return two sequences of different tokens each."""
    generator = torch.Generator().manual_seed(1)
    return torch.stack([torch.randperm(VOCAB, generator=generator)[:length] for _ in range(2)])


def assert_near(found: Tensor, expected: Tensor) -> None:
    assert found.shape == expected.shape
    assert float((found - expected).abs().max()) <= TOLERANCE * float(expected.abs().max())


@pytest.mark.parametrize(
    ("family", "keys"),
    [
        pytest.param(family, keys, id=f"{family}-{number}")
        for family in FAMILIES
        for number, keys in enumerate(configs(family, EXAMPLES), start=1)
    ],
)
def test_model(family: str, keys: dict[str, Any]) -> None:
    """Each comparison is made for every example, because random models take longer to build than to compare."""
    with imported(family, keys) as (theirs, loaded, ours, folder), torch.no_grad():
        expected = theirs(ids(), use_cache=False).logits
        compare_whole_sequences(theirs, ours, folder, expected)
        compare_decoding_with_a_cache(theirs, loaded, ours)
        export_and_import_again(loaded, ours, folder, expected)


def compare_whole_sequences(theirs: Any, ours: TinyTransformerLM, folder: Path, expected: Tensor) -> None:
    opened = open_model(folder / "theirs").eval()
    assert all(map(torch.equal, opened.state_dict().values(), ours.state_dict().values()))
    assert_near(opened(ids()), expected)
    assert_near(ours(ids()), expected)
    names = RECORDS[theirs.config.model_type].keys.tensor_names
    unused = sum(math.prod(shape) for shape in names.unused_tensors(ours.config).values())
    counted = sum(p.numel() for p in theirs.parameters() if p.requires_grad)
    assert sum(p.numel() for p in ours.parameters()) == counted - unused


def compare_decoding_with_a_cache(theirs: Any, loaded: LoadedConfig, ours: TinyTransformerLM) -> None:
    """Past the window, and past the length a rotation was first made for."""
    read = ids(3)
    kept = None
    unread = read
    is_rescaled = loaded.config.position.scaling in ("dynamic", "longrope")  # theirs keeps keys turned in another way
    whole = is_rescaled or theirs.config.model_type in WITHOUT_CACHE
    for step in decode(ours, read, 8, sampling=SamplingParams(temperature=0.0)):
        if whole:
            logits = theirs(read, use_cache=False).logits
        else:
            logits, kept = read_on(theirs, unread, kept, read.shape[1] - unread.shape[1])
        assert_near(step.logits, logits[:, -1])
        unread = step.tokens[:, None]
        if theirs.config.model_type in SELECTS_BY_VALUES and bool((read == unread).any()):
            break
        read = torch.cat((read, unread), dim=1)


def export_and_import_again(loaded: LoadedConfig, ours: TinyTransformerLM, folder: Path, expected: Tensor) -> None:
    """An exported model loads without missing or unexpected tensors; imported again, it is bitwise equal."""
    choice = export_config(loaded.config)
    assert choice.changes == ()
    export_model(ours, choice, folder / "out")
    again, report = transformers.AutoModelForCausalLM.from_pretrained(
        folder / "out", output_loading_info=True, attn_implementation="eager", experts_implementation="eager"
    )
    names = families.FAMILIES[choice.family].keys.tensor_names
    recomputed = {name for name in report["missing_keys"] if names.is_recomputed(name)}
    assert report.pop("missing_keys") == recomputed
    assert not any(report.values())
    assert_near(again.eval()(ids(), use_cache=False).logits, expected)
    found = import_config(str(folder / "out"))
    import_weights(found.loaded.config, found.family, folder / "out", folder / "back", config_text="")
    assert canonical_fields(found.loaded.config) == canonical_fields(loaded.config)  # maybe of another family
    export_model(load_model(loaded.config, folder / "back"), choice, folder / "out-again")
    for name in ("config.json", "model.safetensors"):
        assert (folder / "out" / name).read_bytes() == (folder / "out-again" / name).read_bytes()


def test_fewer_embeddings_for_each_layer_than_tokens() -> None:
    """Gemma 4 with a smaller vocab_size_per_layer_input: tokens within it agree, theirs fails for others."""
    rows = VOCAB - 9
    keys = configs("gemma4_text", 1)[0] | {"hidden_size_per_layer_input": 4, "vocab_size_per_layer_input": rows}
    tokens = ids() % rows
    with imported("gemma4_text", keys) as (theirs, loaded, ours, folder), torch.no_grad():
        assert loaded.config.embedding.per_layer_vocab_size == rows
        expected = theirs(tokens, use_cache=False).logits
        assert_near(ours(tokens), expected)
        choice = export_config(loaded.config)
        assert choice.changes == ()
        export_model(ours, choice, folder / "out")
        again = transformers.AutoModelForCausalLM.from_pretrained(folder / "out", attn_implementation="eager").eval()
        assert_near(again(tokens, use_cache=False).logits, expected)
        with pytest.raises(IndexError):
            theirs(torch.full((1, 1), rows), use_cache=False)


VISION = {
    "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "image_size": 8,
    "patch_size": 4,
}  # fmt: skip
QWEN_VISION = {
    "depth": 1, "hidden_size": 16, "num_heads": 2, "embed_dim": 16, "patch_size": 4, "out_hidden_size": 16,
    "intermediate_size": 16, "deepstack_visual_indexes": [0], "num_position_embeddings": 4,
}  # fmt: skip
LLAMA4_VISION = {
    **VISION,
    "vision_output_dim": 8,
    "pixel_shuffle_ratio": 0.5,
    "projector_input_dim": 8,
    "projector_output_dim": 8,
}
M_ROPE = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1]}

DELTA_NET = {
    "layer_types": ["linear_attention", "full_attention"], "linear_num_key_heads": 1, "linear_num_value_heads": 2,
    "linear_key_head_dim": 4, "linear_value_head_dim": 4, "rope_parameters": M_ROPE | {"partial_rotary_factor": 1.0},
}  # fmt: skip
SHARED_EXPERTS = {
    "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 8, "shared_expert_intermediate_size": 8,
    "intermediate_size": None,
}  # fmt: skip
VQ_VAE = {"base_channels": 32, "channel_multiplier": [1], "num_res_blocks": 1, "hidden_size": 32, "codebook_size": 8}
SAM = {
    "hidden_size": 8, "output_channels": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "image_size": 32,
    "patch_size": 8, "mlp_dim": 8, "window_size": 2, "global_attn_indexes": [0],
}  # fmt: skip
AUDIO = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8, "num_mel_bins": 4}
PHI4_AUDIO = {
    "hidden_size": 8, "intermediate_size": 8, "num_blocks": 1, "num_attention_heads": 1, "ext_pw_out_channel": 8,
    "depthwise_separable_out_channel": 8, "nemo_conv_channels": 8, "input_size": 8,
}  # fmt: skip

DOTS_ROPE = {name: {"rope_type": "default", "rope_theta": 1e4} for name in ("indexed_attention", "sliding_attention")}
DOTS_VISION = {
    "embed_dim": 16, "num_heads": 2, "intermediate_size": 8, "moe_intermediate_size": 8, "num_hidden_layers": 1,
    "patch_size": 4, "adapter_in_dim": 16, "adapter_out_dim": 16, "pyramid_num_routed": [2],
}  # fmt: skip
DOTS_AUDIO = {
    "hidden_size": 16, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "feature_size": 8,
    "downsample_hidden_size": 8, "adapter_input_size": 16, "adapter_out_dim": 16,
}  # fmt: skip

GEMMA3N_AUDIO = {
    "hidden_size": 16, "conf_num_attention_heads": 2, "conf_num_hidden_layers": 1, "input_feat_size": 8,
    "sscp_conv_channel_size": [4, 4],
}  # fmt: skip

MULTIMODAL: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "gemma3": (
        {"sliding_window": 5, "query_pre_attn_scalar": 7, "layer_types": ["sliding_attention", "full_attention"]},
        {"vision_config": VISION, "mm_tokens_per_image": 4},
    ),
    "gemma3n": (
        {
            "sliding_window": 5,
            "layer_types": ["sliding_attention", "full_attention"],
            "num_kv_shared_layers": 0,
            "activation_sparsity_pattern": [0.5, 0.0],
            "hidden_size_per_layer_input": 4,
            "vocab_size_per_layer_input": VOCAB - 7,
            "laurel_rank": 4,
        },
        {"audio_config": GEMMA3N_AUDIO},
    ),
    "gemma4": (
        {
            "sliding_window": 5,
            "layer_types": ["sliding_attention", "full_attention"],
            "global_head_dim": 16,
            "hidden_size_per_layer_input": 4,
            "vocab_size_per_layer_input": VOCAB,
            "attention_k_eq_v": True,
            "num_global_key_value_heads": 2,
        },
        {"vision_config": None, "audio_config": None},
    ),
    "gemma4_unified": (
        {"sliding_window": 5, "layer_types": ["sliding_attention", "full_attention"], "global_head_dim": 16},
        {"vision_config": None, "audio_config": None},
    ),
    "paligemma": ({"model_type": "gemma"}, {"vision_config": VISION, "projection_dim": 16}),
    "paligemma gemma2": (
        {
            "model_type": "gemma2",
            "sliding_window": 5,
            "query_pre_attn_scalar": 7,
            "layer_types": ["sliding_attention", "full_attention"],
            "final_logit_softcapping": 2.0,
        },
        {"vision_config": VISION, "projection_dim": 16},
    ),
    "llava": ({"model_type": "mistral", "sliding_window": 5}, {"vision_config": {"model_type": "pixtral", **VISION}}),
    "llava_next": ({"model_type": "llama"}, {"vision_config": {"model_type": "clip_vision_model", **VISION}}),
    "llava_next mistral": (
        {"model_type": "mistral", "sliding_window": 5},
        {"vision_config": {"model_type": "clip_vision_model", **VISION}},
    ),
    "llava_next qwen2": (
        {"model_type": "qwen2", "head_dim": None},
        {"vision_config": {"model_type": "siglip_vision_model", **VISION}},
    ),
    "llava_onevision": ({"model_type": "qwen2", "head_dim": None}, {"vision_config": VISION}),
    "internvl": ({"model_type": "qwen2", "head_dim": None}, {"vision_config": VISION}),
    "internvl qwen3": ({"model_type": "qwen3"}, {"vision_config": VISION}),
    "internvl llama": ({"model_type": "llama"}, {"vision_config": VISION}),
    "aya_vision": (
        {
            "model_type": "cohere2",
            "head_dim": None,
            "sliding_window": 5,
            "layer_types": ["sliding_attention", "full_attention"],
            "logit_scale": 0.5,
        },
        {"vision_config": VISION},
    ),
    "idefics3": ({"model_type": "llama"}, {"vision_config": VISION}),
    "smolvlm": ({"model_type": "llama"}, {"vision_config": VISION}),
    "mistral3": ({"model_type": "mistral"}, {"vision_config": {"model_type": "pixtral", **VISION}}),
    "llama4": (
        {"attention_chunk_size": 5, "floor_scale": 4, "no_rope_layer_interval": 2, "num_local_experts": 2},
        {"vision_config": LLAMA4_VISION},
    ),
    "qwen2_vl": ({"rope_parameters": M_ROPE}, {"vision_config": QWEN_VISION}),
    "qwen2_5_vl": ({"rope_parameters": M_ROPE}, {"vision_config": QWEN_VISION}),
    "qwen3_vl": ({"rope_parameters": M_ROPE}, {"vision_config": QWEN_VISION}),
    "qwen3_5": (DELTA_NET, {"vision_config": QWEN_VISION}),
    "qwen3_5_moe": (DELTA_NET | SHARED_EXPERTS, {"vision_config": QWEN_VISION}),
    "emu3": ({"head_dim": None}, {"vq_config": VQ_VAE, "vocabulary_map": {"<image>": 1}}),
    "dots3_note": (
        {
            "layer_types": ["indexed_attention", "sliding_attention"],
            "sliding_window": 5,
            "kv_lora_rank": 8,
            "q_lora_rank": 8,
            "qk_nope_head_dim": 4,
            "qk_rope_head_dim": 4,
            "v_head_dim": 8,
            "index_topk": 3,
            "index_head_dim": 8,
            "index_n_heads": 16,
            "n_routed_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 8,
            "shared_experts_intermediate_size": 8,
            "num_key_value_heads": 2,
            "per_layer_config": {},
            "rope_parameters": DOTS_ROPE,
        },
        {"vision_config": DOTS_VISION, "audio_config": DOTS_AUDIO},
    ),
    "fuyu": (
        {"model_type": "persimmon", "head_dim": None, "num_key_value_heads": None},
        {"patch_size": 2},
    ),
    "got_ocr2": ({"model_type": "qwen2", "head_dim": None}, {"vision_config": SAM}),
    "moss_transcribe_diarize": ({"model_type": "qwen3"}, {"audio_config": AUDIO}),
    "git": ({"head_dim": None, "num_key_value_heads": None}, {"vision_config": VISION}),
    "phi4_multimodal": ({"head_dim": None}, {"vision_config": VISION, "audio_config": PHI4_AUDIO}),
}
"""Keys of the language model, null for those that it does not have, and of the whole model.

A key is a family; if it has several language models, also the name of one."""

LLAVA_LIKE = ("aya_vision", "gemma3", "internvl", "llava_next", "llava_onevision", "mistral3", "paligemma")
LLAVA_ROOTS = ("language_model.model.", "model.language_model.")
QWEN_ROOTS = ("model.",)
ROOTED = [(name, index % 2 == 0, "") for index, name in enumerate(MULTIMODAL)] + [
    (name, name != "mistral3", root)
    for roots, names in (
        (LLAVA_ROOTS, ("gemma3", "mistral3", "llava_next", "paligemma", "internvl")),
        (QWEN_ROOTS, ("qwen2_vl",)),
    )
    for name in names
    for root in roots
]
"""A key of ``MULTIMODAL``, whether the LM head is tied, and where a checkpoint stores the language model."""


@pytest.mark.parametrize(("name", "tied", "root"), ROOTED)
def test_multimodal(name: str, root: str, tmp_path: Path, *, tied: bool) -> None:
    """The language model is loaded with the tensor names of any version; tensors of other parts are skipped."""
    family, (more, others) = name.split()[0], MULTIMODAL[name]
    text = {
        "vocab_size": VOCAB, "hidden_size": 16, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8,
        "num_hidden_layers": 2, "intermediate_size": 24, "max_position_embeddings": 32, "pad_token_id": 0,
        "tie_word_embeddings": tied, **more,
    }  # fmt: skip
    text = {key: value for key, value in text.items() if value is not None}
    is_nested = bool(RECORDS[family].keys.language_model_key)
    keys = {"text_config": text, "tie_word_embeddings": tied} if is_nested else text
    config = transformers.AutoConfig.for_model(family, **keys, **others)
    with empty_encoder():
        theirs = getattr(transformers, RECORDS[family].architecture)(config).eval()
    randomize(theirs)
    theirs.save_pretrained(tmp_path / "theirs")
    file = tmp_path / "theirs" / "model.safetensors"
    if root:
        save_file({_rooted(name, root): tensor for name, tensor in load_file(file).items()}, file)
    found = import_config(str(tmp_path / "theirs"))
    converted = import_weights(found.loaded.config, family, tmp_path / "theirs", tmp_path / "ours", config_text="")
    ours = load_model(found.loaded.config, tmp_path / "ours").eval()
    parts = (
        r"vision_tower|vision_encoder|audio_tower|audio_encoder|audio_adapter|multi_modal_projector|visual|vision_model"
        r"|vqmodel|vision_embed_tokens|embed_tokens_extend|image_encoder|embed_vision|embed_audio|image_newline|connector"
    )
    assert sorted(converted.skipped) == sorted(name for name in load_file(file) if re.search(parts, name))
    with torch.no_grad():
        # transformers 5.24 fails to add the image outputs to the outputs of Llama 4's language model
        theirs = theirs.language_model if family == "llama4" else theirs
        # the attention of PaliGemma is causal only within the answer, whose tokens have the type 1
        types = {"token_type_ids": torch.ones_like(ids())} if family == "paligemma" else {}
        # transformers 5.24 leaves out the logit scale of the Cohere2 of Aya Vision
        scale = config.text_config.logit_scale if family == "aya_vision" else 1
        assert_near(ours(ids()), theirs(input_ids=ids(), use_cache=False, **types).logits * scale)


def _rooted(name: str, root: str) -> str:
    """Return a name as older or newer versions of transformers have it."""
    text = name.removeprefix("language_model.model.").removeprefix("model.language_model.")
    if text != name:
        return root + text
    older = root.startswith("language_model")
    if name.endswith("lm_head.weight"):
        return "language_model.lm_head.weight" if older else "lm_head.weight"
    other = name.removeprefix("model.")
    return other if older else f"model.{other}"
