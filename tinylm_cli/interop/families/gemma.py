"""Gemma: token vectors times √d_model, norm weights kept around zero; 2 and 3 with norms on both sides and windows."""

from __future__ import annotations

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.family import LLAMA_LIKE, Family, Must, usual
from tinylm_cli.interop.key_reader import Reader
from tinylm_cli.interop.key_writers import Keys, rope_keys, windows_keys
from tinylm_cli.interop.rope import reject_leftovers, rope, scaling
from tinylm_cli.interop.shared_keys import activation, d_head
from tinylm_cli.interop.sliding_windows import alternate, window_by_layer
from tinylm_cli.interop.tensor_names import LLAMA_NAMES, POST_NORM_NAMES

_GEMMA_LIKE = {**LLAMA_LIKE, "embedding.multiplier": None, "norm.zero_centered": True}
_CAUSAL = {"use_bidirectional_attention": Must((False,), "every token would see those after it")}


def _legacy_activation(read: Reader) -> None:
    """The first configs said gelu and meant its tanh form."""
    if read.word("hidden_act") == "gelu":
        read.put("feed_forward.activation", "gelu_tanh", "hidden_act")
    else:
        activation(read, "hidden_act")


def _query_scale(read: Reader) -> None:
    """Scores are divided by √query_pre_attn_scalar; the width of a head is the usual one."""
    scalar = read.integer("query_pre_attn_scalar")
    if scalar is not None and scalar != d_head(read):
        read.put("attention.scale", scalar**-0.5, "query_pre_attn_scalar")


def _activation_keys(_: ModelConfig) -> Keys:
    return {"hidden_act": "gelu_pytorch_tanh", "hidden_activation": "gelu_pytorch_tanh"}


GEMMA = Family(
    model_type="gemma",
    architecture="GemmaForCausalLM",
    title="Gemma",
    always=_GEMMA_LIKE,
    fields=usual(
        vocab_size=256000, hidden_size=3072, intermediate_size=24576, num_hidden_layers=28, num_attention_heads=16,
        num_key_value_heads=16, head_dim=256, max_position_embeddings=8192, rms_norm_eps=1e-6,
        tie_word_embeddings=True, attention_bias=False,
    ),
    musts={
        **_CAUSAL,
        "hidden_activation": Must(("gelu_pytorch_tanh",), "this family's code reads hidden_act"),
    },
    defaults={"hidden_act": "gelu_pytorch_tanh"},
    compute=(_legacy_activation, rope()),
    names=LLAMA_NAMES,
    write=(_activation_keys, rope_keys),
)  # fmt: skip

_NAMES = POST_NORM_NAMES.but(layer={"ln_2": "pre_feedforward_layernorm"})


def _query_scale_keys(config: ModelConfig) -> Keys:
    scale = config.attention.scale
    return {"query_pre_attn_scalar": config.d_head if scale is None else round(scale**-2)}


GEMMA2 = Family(
    model_type="gemma2",
    architecture="Gemma2ForCausalLM",
    title="Gemma 2",
    always={**_GEMMA_LIKE, "norm.placement": "sandwich"},
    fields={
        **usual(
            vocab_size=256000, hidden_size=2304, intermediate_size=9216, num_hidden_layers=26, num_attention_heads=8,
            num_key_value_heads=4, head_dim=256, hidden_activation="gelu_pytorch_tanh", max_position_embeddings=8192,
            rms_norm_eps=1e-6, tie_word_embeddings=True, attention_bias=False,
        ),
        "attn_logit_softcapping": ("attention.logit_softcap", 50.0),
        "final_logit_softcapping": ("head.logit_softcap", 30.0),
    },
    musts=_CAUSAL,
    ignored=frozenset(["hidden_act"]),  # hidden_activation is what counts
    defaults={"query_pre_attn_scalar": 256, "sliding_window": 4096},
    compute=(_query_scale, rope(), window_by_layer(alternate)),
    aliases={"sliding_window_size": "sliding_window"},
    names=_NAMES,
    write=(_query_scale_keys, rope_keys, windows_keys),
)  # fmt: skip


def _every_nth_global(read: Reader, n_layers: int) -> tuple[str, str]:
    step = min(read.integer("sliding_window_pattern") or 1, n_layers + 1)
    return "".join("L" if (i + 1) % step else "G" for i in range(n_layers)), "sliding_window_pattern"


def _two_ropes(read: Reader) -> None:
    """Global layers turn by ``full_attention`` or ``rope_theta``, local ones unstretched by ``sliding_attention``."""
    new, old = read.block("rope_parameters"), read.block("rope_scaling")
    full = new.block("full_attention") if new is not None else None
    local = new.block("sliding_attention") if new is not None else None
    outside, outside_local = read.number("rope_theta", above=1), read.number("rope_local_base_freq", above=1)
    theta = full.number("rope_theta", above=1) if full is not None else None
    at = full if full is not None and theta is not None else read
    at.put("position.theta", float(theta or outside or 1e6), "rope_theta")
    if read.value("attention.window") is not None:
        theta = local.number("rope_theta", above=1) if local is not None else None
        at, key = (local, "rope_theta") if local is not None and theta is not None else (read, "rope_local_base_freq")
        base = float(theta or outside_local or 1e4)
        at.put("position.local_theta", base if base != read.value("position.theta") else None, key)
        _local_is_plain(local)
    for block in (full, old):  # rope_scaling is laid over full_attention
        if block is not None:
            block.understood.add("rope_theta")
            scaling(read, block, {})
            reject_leftovers(block)
    if new is not None:
        new.understood |= {"full_attention", "sliding_attention"}
        reject_leftovers(new)


def _local_is_plain(local: Reader | None) -> None:
    if local is None:
        return
    key = "rope_type" if local.has("rope_type") or not local.has("type") else "type"
    if (local.word(key) or "default") != "default":
        local.unsupported(key, "layers with a window rotate unstretched")
    local.understood |= {"rope_theta", "type", "rope_type"}
    reject_leftovers(local)


def _local_base(config: ModelConfig) -> Keys:
    local = config.position.local_theta
    return {"rope_local_base_freq": config.position.theta if local is None else local}


GEMMA3_TEXT = Family(
    model_type="gemma3_text",
    architecture="Gemma3ForCausalLM",
    title="Gemma 3",
    always={**_GEMMA_LIKE, "norm.placement": "sandwich", "attention.qk_norm": "per_head"},
    fields={
        **usual(
            vocab_size=262208, hidden_size=2304, intermediate_size=9216, num_hidden_layers=26, num_attention_heads=8,
            num_key_value_heads=4, head_dim=256, hidden_activation="gelu_pytorch_tanh", max_position_embeddings=131072,
            rms_norm_eps=1e-6, tie_word_embeddings=True, attention_bias=False,
        ),
        "final_logit_softcapping": ("head.logit_softcap", None),
    },
    musts=_CAUSAL,
    ignored=frozenset(["hidden_act", "attn_logit_softcapping"]),  # this family's code does not cap scores
    defaults={"query_pre_attn_scalar": 256, "sliding_window": 4096, "sliding_window_pattern": 6},
    compute=(_query_scale, window_by_layer(_every_nth_global), _two_ropes),
    names=_NAMES,
    write=(_query_scale_keys, rope_keys, windows_keys, _local_base),
)  # fmt: skip

GEMMA3 = Family(
    model_type="gemma3",
    architecture="Gemma3ForConditionalGeneration",
    title="Gemma 3 with pictures, its language model",
    always=GEMMA3_TEXT.always,
    fields=GEMMA3_TEXT.fields,
    musts=GEMMA3_TEXT.musts,
    ignored=GEMMA3_TEXT.ignored,
    defaults=GEMMA3_TEXT.defaults,
    compute=GEMMA3_TEXT.compute,
    names=_NAMES._replace(
        roots=(
            {"model.": "language_model.model.", "lm_head.": "language_model.lm_head."},
            {"model.": "model.language_model."},
        ),
        skipped=tuple(
            f"{root}{part}." for root in ("", "model.") for part in ("vision_tower", "multi_modal_projector")
        ),
    ),
    inside="text_config",
    outside=frozenset(
        ["vision_config", "mm_tokens_per_image", "boi_token_index", "eoi_token_index", "image_token_index"]
    ),
)
