"""What a person most likely meant by a key, a word or a value that does not fit."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable
from functools import cache
from typing import Annotated, Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from tinylm_cli.config.blocks import BLOCKS
from tinylm_cli.config.dump import scalar
from tinylm_cli.config.fields import Field, fields
from tinylm_cli.config.schema import ModelConfig

# What other tools call our fields; each was met in a published config.
_OTHER_NAMES = {
    "activation_fn": "feed_forward.activation",
    "activation_function": "feed_forward.activation",
    "attention_bias": "attention.bias",
    "attention_dropout": "dropout",
    "attention_multiplier": "attention.scale",
    "attention_sinks": "attention.sinks",
    "attn_bias": "attention.bias",
    "attn_logit_softcapping": "attention.logit_softcap",
    "block_size": "max_len",
    "context_length": "max_len",
    "context_size": "max_len",
    "d_embed": "d_model",
    "depth": "n_layers",
    "dim": "d_model",
    "dim_feedforward": "d_ff",
    "emb_dim": "d_model",
    "embd_pdrop": "dropout",
    "embed_dim": "d_model",
    "embedding_multiplier": "embedding.multiplier",
    "experts_per_token": "feed_forward.top_k",
    "factor": "position.scaling_factor",
    "ffn_dim": "d_ff",
    "ffn_hidden_size": "d_ff",
    "final_logit_softcapping": "head.logit_softcap",
    "first_k_dense_replace": "feed_forward.n_dense_layers",
    "head_dim": "attention.d_head",
    "hidden_act": "feed_forward.activation",
    "hidden_activation": "feed_forward.activation",
    "hidden_dim": "d_model",
    "hidden_size": "d_model",
    "intermediate_size": "d_ff",
    "kv_lora_rank": "attention.kv_rank",
    "layer_norm_eps": "norm.eps",
    "layer_norm_epsilon": "norm.eps",
    "layer_types": "attention.window_pattern",
    "lm_head_bias": "head.bias",
    "long_factor": "position.long_factors",
    "max_position_embeddings": "max_len",
    "max_seq_len": "max_len",
    "max_seq_length": "max_len",
    "mlp_bias": "feed_forward.bias",
    "moe_intermediate_size": "feed_forward.d_expert",
    "moe_top_k": "feed_forward.top_k",
    "moe_topk": "feed_forward.top_k",
    "multi_query": "attention.n_kv_heads",
    "n_ctx": "max_len",
    "n_embd": "d_model",
    "n_group": "feed_forward.n_groups",
    "n_head": "n_heads",
    "n_inner": "d_ff",
    "n_kv_head": "attention.n_kv_heads",
    "n_layer": "n_layers",
    "n_positions": "max_len",
    "n_query_groups": "attention.n_kv_heads",
    "n_routed_experts": "feed_forward.n_experts",
    "nhead": "n_heads",
    "norm_eps": "norm.eps",
    "norm_first": "norm.placement",
    "norm_topk_prob": "feed_forward.renormalise",
    "num_attention_heads": "n_heads",
    "num_experts": "feed_forward.n_experts",
    "num_experts_per_tok": "feed_forward.top_k",
    "num_experts_per_token": "feed_forward.top_k",
    "num_heads": "n_heads",
    "num_hidden_layers": "n_layers",
    "num_key_value_heads": "attention.n_kv_heads",
    "num_kv_heads": "attention.n_kv_heads",
    "num_layers": "n_layers",
    "num_local_experts": "feed_forward.n_experts",
    "num_query_groups": "attention.n_kv_heads",
    "num_shared_experts": "feed_forward.n_shared_experts",
    "o_bias": "attention.out_bias",
    "original_max_position_embeddings": "position.original_max_len",
    "parallel_attn": "block.parallel",
    "parallel_residual": "block.parallel",
    "partial_rotary_factor": "position.rotary_fraction",
    "position_embedding_type": "position.kind",
    "positional_encoding": "position.kind",
    "q_lora_rank": "attention.q_rank",
    "qk_nope_head_dim": "attention.d_nope",
    "qk_rope_head_dim": "attention.d_rope",
    "qkv_bias": "attention.bias",
    "query_pre_attn_scalar": "attention.scale",
    "resid_pdrop": "dropout",
    "rms_norm": "norm.kind",
    "rms_norm_eps": "norm.eps",
    "rope_base": "position.theta",
    "rope_local_base_freq": "position.local_theta",
    "rope_scaling": "position.scaling",
    "rope_theta": "position.theta",
    "rope_type": "position.scaling",
    "rotary_dim": "position.rotary_fraction",
    "rotary_emb_base": "position.theta",
    "rotary_pct": "position.rotary_fraction",
    "routed_scaling_factor": "feed_forward.routed_scale",
    "scoring_func": "feed_forward.router",
    "seq_len": "max_len",
    "seq_length": "max_len",
    "short_factor": "position.short_factors",
    "sliding_window": "attention.window",
    "sliding_window_pattern": "attention.window_pattern",
    "swiglu_limit": "feed_forward.clamp",
    "tie_embeddings": "tie_weights",
    "tie_word_embeddings": "tie_weights",
    "topk_group": "feed_forward.top_k_groups",
    "type": "kind",
    "use_parallel_residual": "block.parallel",
    "use_qk_norm": "attention.qk_norm",
    "v_head_dim": "attention.d_value",
    "weight_tying": "tie_weights",
}
_OTHER_BLOCKS = {
    "attn": "attention",
    "embeddings": "embedding",
    "ffn": "feed_forward",
    "layer_norm": "norm",
    "layernorm": "norm",
    "lm_head": "head",
    "mlp": "feed_forward",
    "moe": "feed_forward",
    "normalization": "norm",
    "pos_emb": "position",
    "positional_encoding": "position",
    "rms_norm": "norm",
    "rmsnorm": "norm",
    "rope": "position",
    "rope_parameters": "position",
    "self_attention": "attention",
    "self_attn": "attention",
}
# What published configs hold beside a model's shape.
_NOT_SHAPE = frozenset(
    {
        *("architectures", "attn_implementation", "auto_map", "aux_loss_alpha", "bos_token_id", "compile", "device"),
        *("dtype", "eos_token_id", "initializer_range", "model_type", "output_router_logits", "pad_token_id"),
        *("pretraining_tp", "router_aux_loss_coef", "seq_aux", "torch_dtype", "transformers_version", "use_cache"),
    }
)
# What other tools call our choices; empty for what looks like one of ours and is another thing.
_OTHER_WORDS = {
    "absolute": "learned",
    "batchnorm": "",
    "default": "none",
    "elu": "",
    "gelu_fast": "gelu_tanh",
    "gelu_new": "gelu_tanh",
    "gelu_python": "gelu",
    "gelu_pytorch_tanh": "gelu_tanh",
    "groupnorm": "",
    "layernorm1p": "",
    "leaky_relu": "",
    "mha": "multi_head",
    "mla": "latent",
    "both": "sandwich",
    "pre_ln": "pre",
    "pre_norm": "pre",
    "prenorm": "pre",
    "ntk": "dynamic",
    "relative": "",
    "relu2": "",
    "rms": "rmsnorm",
    "rotary": "rope",
    "sincos": "sinusoidal",
    "su": "longrope",
    "swish": "silu",
    "t5": "",
}
# Words that stand for several fields of ours.
_SEVERAL = {
    ("feed_forward.activation", "swiglu"): {"activation": "silu", "gated": "true"},
    ("feed_forward.activation", "geglu"): {"activation": "gelu", "gated": "true"},
    ("feed_forward.activation", "reglu"): {"activation": "relu", "gated": "true"},
    ("feed_forward.activation", "glu"): {"activation": "silu", "gated": "true"},
    ("attention.kind", "gqa"): {"n_kv_heads": "2", "kind": "multi_head"},
    ("attention.kind", "grouped_query"): {"n_kv_heads": "2", "kind": "multi_head"},
    ("attention.kind", "mqa"): {"n_kv_heads": "1", "kind": "multi_head"},
    ("attention.kind", "multi_query"): {"n_kv_heads": "1", "kind": "multi_head"},
    ("attention.kind", "sliding_window"): {"window": "1024", "kind": "multi_head"},
    ("feed_forward.router", "noaux_tc"): {"router": "sigmoid", "score_correction": "true"},
}
_NOTHING = frozenset({"0", "0.0", "-1", "none", "false", "off", "no", "~"})
_BOOLEANS = {
    "yes": "true",
    "on": "true",
    "y": "true",
    "1": "true",
    "no": "false",
    "off": "false",
    "n": "false",
    "0": "false",
}
_ENDING = re.compile(r"\.ya?ml$")
_NEAR_NAME = 0.7  # names are chosen freely, so less likeness means nothing
_NEAR_STEM = 0.5
_SCALED = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)([kmb])")
_SCALES = {"k": 10**3, "m": 10**6, "b": 10**9}
_GROUPS = re.compile(r"[_' \u00a0\u202f](?=\d)")
_THOUSANDS = re.compile(r"[-+]?\d{1,3}(,\d{3})+")
_UNITS = {"%": 0.01, "k": 1e3, "m": 1e6}
_ELSEWHERE = 0.75  # how like a name of another block must be: there are many, and some are like anything
_MOST_EXACT = 1e15


def suggest(wrong: str, known: Iterable[str], likeness: float = 0.6) -> str | None:
    """Return the known word a person most likely meant by ``wrong``, if one is near enough."""
    by_folded = {_folded(word): word for word in known}
    matches = difflib.get_close_matches(_folded(wrong[:64]), by_folded, n=1, cutoff=likeness)
    return by_folded[matches[0]] if matches else None


def suggest_config(wrong: str, known: Iterable[str]) -> str | None:
    """Return the preset or file most likely meant; an ending, which many share, is no likeness by itself."""
    by_stem = {_stem(name): name for name in known}
    stems = difflib.get_close_matches(_stem(wrong), by_stem, n=1, cutoff=_NEAR_NAME)
    if stems:
        return by_stem[stems[0]]
    near = suggest(wrong, by_stem.values())
    alike = near is not None and difflib.SequenceMatcher(None, _stem(wrong), _stem(near)).ratio() >= _NEAR_STEM
    return near if alike else None


def suggest_keys(wrong: str, block: str) -> tuple[str, ...]:
    """Return the dotted names of the fields meant by an unknown key ``wrong`` in ``block`` (empty for the top level).

    Several when a name stands in several blocks, none when nothing is near.
    """
    if wrong in fields():
        return (wrong,)
    here = tuple(BLOCKS[block].model_fields if block else ModelConfig.model_fields)
    prefix = f"{block}." if block else ""
    alias = _OTHER_NAMES.get(wrong.casefold(), "")
    if alias in fields():
        return (alias,)
    if alias in here:
        return (prefix + alias,)
    if "." in wrong:
        near = suggest(wrong, fields())
        return (near,) if near else ()
    anywhere = {**dict.fromkeys(here), **dict.fromkeys(map(_last, fields()))}
    near = suggest(wrong, anywhere, _ELSEWHERE) or suggest(wrong, here)
    if near in here:
        return (f"{prefix}{near}",)
    return tuple(name for name in fields() if _last(name) == near)


def other_name(wrong: str) -> str | None:
    """Return the field of ours that other tools call ``wrong``."""
    name = _OTHER_NAMES.get(wrong.casefold())
    return name if name in fields() else None


def suggest_block(wrong: str) -> str | None:
    """Return the block another tool's name for a group of fields stands for, or the nearest block."""
    return _OTHER_BLOCKS.get(_folded(wrong)) or suggest(wrong, BLOCKS)


def nearest(wrong: str, known: Iterable[str], count: int) -> list[str]:
    """Return the ``count`` words most like ``wrong``, however little, in the order of ``known``."""
    words = list(known)
    folded = _folded(wrong[:64])
    likeness = {word: difflib.SequenceMatcher(None, folded, word).ratio() for word in words}
    best = sorted(words, key=likeness.__getitem__, reverse=True)[:count]
    return [word for word in words if word in best]


def is_not_shape(key: str) -> bool:
    """Return whether published configs hold ``key`` for something other than what a model is made of."""
    return key.casefold() in _NOT_SHAPE


def means_nothing(written: str) -> bool:
    """Return whether another tool would take the value for "without it", where ours is to leave the field out."""
    return written.strip().casefold() in _NOTHING


def several_fields(wrong: str, name: str) -> dict[str, str]:
    """Return what ``wrong`` stands for as values of several fields of its block, as ``swiglu`` does; else nothing."""
    return _SEVERAL.get((name, _folded(wrong)), {})


def suggest_choice(wrong: str, choices: tuple[str, ...]) -> str | None:
    """Return the choice meant by ``wrong``: by another tool's name for it, or the nearest."""
    other = _OTHER_WORDS.get(_folded(wrong))
    return suggest(wrong, choices) if other is None else other if other in choices else None


def suggest_value(written: str, field: Field) -> str | None:
    """Return what to write for a value of the wrong type: ``256`` for ``"256"`` or ``2.56e2``, ``true`` for ``yes``."""
    text = written.strip().partition("#")[0].rstrip(" ,;").casefold()
    guess = _GUESSES[field.kind](text) if field.kind in _GUESSES else None
    return guess if guess is not None and _fits(field.name, guess) else None


def suggest_item(written: str, field: Field) -> str | None:
    """Return what to write for one wrong number of a list of them."""
    guess = _guess_number(written.strip().casefold())
    return guess if guess is not None and _fits(field.name, guess, listed=True) else None


def _guess_boolean(text: str) -> str | None:
    return _BOOLEANS.get(text) or suggest(text, ("true", "false"))


def _guess_integer(text: str) -> str | None:
    scaled = _SCALED.fullmatch(text)
    if scaled:
        number = float(scaled[1]) * _SCALES[scaled[2]]
        return str(round(number)) if abs(number - round(number)) < 1e-6 else None  # 1.1 * 1000 is not 1100
    value = _number(text.replace(",", "") if _THOUSANDS.fullmatch(text) else text)
    return str(int(value)) if value is not None and value == int(value) else None


def _guess_number(text: str) -> str | None:
    unit = next((unit for unit in _UNITS if text.endswith(unit)), "")
    value = _number(text.removesuffix(unit).rstrip().replace(",", "."))
    return None if value is None else scalar(float(f"{value * _UNITS.get(unit, 1.0):.15g}"))


def _guess_count(text: str) -> str | None:
    short = text.lstrip("~≈ ").replace(" ", "").upper().replace("G", "B")
    return short if _fits("nominal_params", short) else _guess_integer(text)


def _guess_choice(text: str) -> str | None:
    if text in ("~", "null", "false", "no", "off"):
        return "none"
    return "per_head" if text in ("true", "yes", "on") else None  # a qk_norm that is on


def _guess_pattern(text: str) -> str | None:
    return text.upper()


_GUESSES = {
    "boolean": _guess_boolean,
    "integer": _guess_integer,
    "number": _guess_number,
    "count": _guess_count,
    "choice": _guess_choice,
    "pattern": _guess_pattern,
}


def _number(text: str) -> float | None:
    try:
        value = float(_GROUPS.sub("", text).replace("−", "-"))
    except ValueError:
        return None
    return value if math.isfinite(value) and abs(value) < _MOST_EXACT else None


def _fits(name: str, written: str, *, listed: bool = False) -> bool:
    """Return whether the field takes what was guessed: a guess that is wrong again is worse than none."""
    from tinylm_cli.config.scalars import resolve_plain

    try:
        value = resolve_plain(written)
        _adapter(name).validate_python([value] if listed else value)
    except (ValidationError, ValueError):
        return False
    return True


@cache
def _adapter(name: str) -> TypeAdapter[Any]:
    block, _, last = name.rpartition(".")
    info = (BLOCKS[block] if block else ModelConfig).model_fields[last]
    annotated: Any = Annotated[info.annotation, name, *info.metadata]
    return TypeAdapter(annotated, config=ConfigDict(strict=True, allow_inf_nan=False))


def _folded(word: str) -> str:
    return word.casefold().replace("-", "_")


def _stem(name: str) -> str:
    return _ENDING.sub("", name[:64].casefold())


def _last(dotted: str) -> str:
    return dotted.rpartition(".")[2]
