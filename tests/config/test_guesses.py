"""What a person meant: near names, other tools' names, and values of the wrong type; and no guess is wrong again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm_cli.config.fields import fields
from tinylm_cli.config.guesses import suggest, suggest_choice, suggest_keys, suggest_value
from tinylm_cli.config.loader import parse_config
from tinylm_cli.config.source import Source


@pytest.mark.parametrize(
    ("wrong", "block", "meant"),
    [
        ("n_embd", "", ["d_model"]),
        ("Hidden_Size", "", ["d_model"]),
        ("layer_norm_epsilon", "", ["norm.eps"]),
        ("rms_norm_eps", "norm", ["norm.eps"]),
        ("type", "norm", ["norm.kind"]),
        ("type", "position", ["position.kind"]),
        ("type", "attention", []),
        ("d-model", "", ["d_model"]),
        ("D_MODEL", "", ["d_model"]),
        ("vocabsize", "", ["vocab_size"]),
        ("feed_foward", "", ["feed_forward"]),
        ("eps", "", ["norm.eps"]),
        ("esp", "norm", ["norm.eps"]),
        ("activation", "", ["feed_forward.activation"]),
        ("activaton", "", ["feed_forward.activation"]),
        ("bias", "", ["attention.bias", "feed_forward.bias"]),
        ("bias", "norm", ["attention.bias", "feed_forward.bias"]),
        ("n_heads", "attention", ["n_heads"]),
        ("norm.eps", "", ["norm.eps"]),
        ("norm.esp", "", ["norm.eps"]),
        ("favourite_colour", "", []),
        ("", "", []),
        ("x" * 100_000, "", []),
    ],
)
def test_keys(wrong: str, block: str, meant: list[str]) -> None:
    assert list(suggest_keys(wrong, block)) == meant


@given(st.text(max_size=20), st.sampled_from(["", "norm", "attention"]))
def test_a_key_that_is_guessed_exists(wrong: str, block: str) -> None:
    known = {*fields(), *(name.partition(".")[0] for name in fields())}
    assert set(suggest_keys(wrong, block)) <= known


@pytest.mark.parametrize(
    ("wrong", "name", "meant"),
    [
        ("RMSNorm", "norm.kind", "rmsnorm"),
        ("layer_norm", "norm.kind", "layernorm"),
        ("groupnorm", "norm.kind", None),
        ("gelu_new", "feed_forward.activation", "gelu_tanh"),
        ("GELU-tanh", "feed_forward.activation", "gelu_tanh"),
        ("swish", "feed_forward.activation", "silu"),
        ("swiglu", "feed_forward.activation", None),
        ("gelu_new", "norm.kind", None),
        ("", "norm.kind", None),
    ],
)
def test_choices(wrong: str, name: str, meant: str | None) -> None:
    assert suggest_choice(wrong, fields()[name].choices) == meant


@pytest.mark.parametrize(
    ("written", "name", "meant"),
    [
        ("8", "n_layers", "8"),
        (" 8 ", "n_layers", "8"),
        ("1e3", "d_ff", "1000"),
        ("128.0", "d_model", "128"),
        ("2.5", "d_model", None),
        ("50_257", "vocab_size", "50257"),
        ("50k", "vocab_size", "50000"),
        ("1.1K", "vocab_size", "1100"),
        ("2b", "vocab_size", None),
        ("1.2345k", "vocab_size", None),
        ("50,257", "vocab_size", "50257"),
        ("50 257", "vocab_size", "50257"),
        ("5,7", "vocab_size", None),
        ("128,", "d_model", "128"),
        ("128;", "d_model", "128"),
        ("128# wide", "d_model", "128"),
        ("-8", "n_layers", None),
        ("1e400", "d_ff", None),
        ("nan", "d_ff", None),
        ("0,1", "dropout", "0.1"),
        ("10%", "dropout", "0.1"),
        ("150 %", "dropout", None),
        ("1e−5", "norm.eps", "1.0e-5"),
        ("yes", "tie_weights", "true"),
        ("OFF", "tie_weights", "false"),
        ("Flase", "tie_weights", "false"),
        ("1", "tie_weights", "true"),
        ("banana", "tie_weights", None),
        ("125m", "nominal_params", "125M"),
        ("~1.5 b", "nominal_params", "1.5B"),
        ("7G", "nominal_params", "7B"),
        ("1.25e8", "nominal_params", "125000000"),
        ("lots", "nominal_params", None),
        ("null", "position.kind", "none"),
        ("null", "norm.kind", None),
    ],
)
def test_values(written: str, name: str, meant: str | None) -> None:
    assert suggest_value(written, fields()[name]) == meant


@given(st.text(alphabet="0123456789.,_ eE+-%KMBTGkmb~;#xo'", max_size=12), st.sampled_from(sorted(fields())))
def test_a_value_that_is_guessed_is_valid(written: str, name: str) -> None:
    guess = suggest_value(written, fields()[name])
    if guess is not None and name not in ("d_model", "n_heads"):
        line = f"{name}={guess}"
        parse_config(Source("x", "vocab_size: 256\nd_model: 128\nn_heads: 4\nn_layers: 4\nd_ff: 512\n"), [line])


def test_the_nearest_word_is_suggested_whatever_its_case() -> None:
    assert suggest("TINY", ["tiny", "small"]) == "tiny"
    assert suggest("zzz", ["tiny", "small"]) is None
