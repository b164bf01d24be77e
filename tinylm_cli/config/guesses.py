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
    "activation_function": "feed_forward.activation",
    "attention_bias": "attention.bias",
    "attention_dropout": "dropout",
    "block_size": "max_len",
    "context_length": "max_len",
    "d_embed": "d_model",
    "depth": "n_layers",
    "dim": "d_model",
    "dim_feedforward": "d_ff",
    "embd_pdrop": "dropout",
    "embed_dim": "d_model",
    "emb_dim": "d_model",
    "ffn_dim": "d_ff",
    "ffn_hidden_size": "d_ff",
    "hidden_act": "feed_forward.activation",
    "hidden_dim": "d_model",
    "hidden_size": "d_model",
    "intermediate_size": "d_ff",
    "layer_norm_eps": "norm.eps",
    "layer_norm_epsilon": "norm.eps",
    "max_position_embeddings": "max_len",
    "max_seq_len": "max_len",
    "mlp_bias": "feed_forward.bias",
    "n_ctx": "max_len",
    "n_embd": "d_model",
    "n_head": "n_heads",
    "n_inner": "d_ff",
    "n_layer": "n_layers",
    "n_positions": "max_len",
    "nhead": "n_heads",
    "num_attention_heads": "n_heads",
    "num_heads": "n_heads",
    "num_hidden_layers": "n_layers",
    "num_layers": "n_layers",
    "resid_pdrop": "dropout",
    "rms_norm_eps": "norm.eps",
    "seq_len": "max_len",
    "seq_length": "max_len",
    "tie_word_embeddings": "tie_weights",
    "type": "kind",
}
# What other tools call our choices; empty for what looks like one of ours and is another thing.
_OTHER_WORDS = {
    "batchnorm": "",
    "geglu": "",
    "gelu_fast": "gelu_tanh",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "groupnorm": "",
    "reglu": "",
    "swiglu": "",
    "swish": "silu",
}
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
_MOST_EXACT = 1e15


def suggest(wrong: str, known: Iterable[str]) -> str | None:
    """Return the known word a person most likely meant by ``wrong``, if one is near enough."""
    by_folded = {_folded(word): word for word in known}
    matches = difflib.get_close_matches(_folded(wrong[:64]), by_folded, n=1, cutoff=0.6)
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
    near = suggest(wrong, {**dict.fromkeys(here), **dict.fromkeys(map(_last, fields()))})
    if near in here:
        return (f"{prefix}{near}",)
    return tuple(name for name in fields() if _last(name) == near)


def suggest_choice(wrong: str, choices: tuple[str, ...]) -> str | None:
    """Return the choice meant by ``wrong``: by another tool's name for it, or the nearest."""
    other = _OTHER_WORDS.get(_folded(wrong))
    return suggest(wrong, choices) if other is None else other if other in choices else None


def suggest_value(written: str, field: Field) -> str | None:
    """Return what to write for a value of the wrong type: ``256`` for ``"256"`` or ``2.56e2``, ``true`` for ``yes``."""
    text = written.strip().partition("#")[0].rstrip(" ,;").casefold()
    guess = _GUESSES[field.kind](text) if field.kind in _GUESSES else None
    return guess if guess is not None and _fits(field.name, guess) else None


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
    percent = text.endswith("%")
    value = _number(text.rstrip("% ").replace(",", "."))
    return None if value is None else scalar(value / 100 if percent else value)


def _guess_count(text: str) -> str | None:
    short = text.lstrip("~≈ ").replace(" ", "").upper().replace("G", "B")
    return short if _fits("nominal_params", short) else _guess_integer(text)


def _guess_choice(text: str) -> str | None:
    return "none" if text in ("~", "null", "false") else None


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


def _fits(name: str, written: str) -> bool:
    """Return whether the field takes what was guessed: a guess that is wrong again is worse than none."""
    from tinylm_cli.config.scalars import resolve_plain

    try:
        _adapter(name).validate_python(resolve_plain(written))
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
