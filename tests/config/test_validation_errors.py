"""Diagnostics from pydantic errors: each error once, at its position, with the file's own keys."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm_cli.cli.wording import worded
from tinylm_cli.config.fields import fields
from tinylm_cli.config.loader import parse_config
from tinylm_cli.config.source import Source
from tinylm_cli.errors import ConfigError, Diagnostic
from tinylm_cli.wording import SET

OWN_LINES = "on lines of their own, indented under"
REQUIRED = {"vocab_size": "256", "d_model": "128", "n_heads": "4", "n_layers": "4", "d_ff": "512"}


def _found(text: str, *overrides: str) -> list[Diagnostic]:
    with pytest.raises(ConfigError) as raised:
        parse_config(Source("x.yaml", text), overrides)
    return list(raised.value.diagnostics)


def _config(**changes: str | None) -> str:
    values: dict[str, str | None] = {**REQUIRED, **changes}
    return "".join(f"{name}: {value}\n" for name, value in values.items() if value is not None)


def _one(text: str, *overrides: str) -> Diagnostic:
    (found,) = _found(text, *overrides)
    return found


@pytest.mark.parametrize(
    ("setting", "help_"),
    [
        ("feed_forward.d_expert=1k", "write 1000"),
        ("attention.windo=8", "did you mean layers.kinds.full.attention.window?"),
        ("n_head=8", "did you mean layers.kinds.full.n_heads?"),
        ("block=mamba2", "write --set layers.kinds.full.block.mixer=mamba2"),
        ("d_ff=wide", "for example --set layers.kinds.full.d_ff=512"),
        (
            "feed_forward.n_experts=0",
            "write --set layers.kinds.full.feed_forward.n_experts=null for none,"
            " or for example --set layers.kinds.full.feed_forward.n_experts=8",
        ),
        (
            "feed_forward.activation=swiglu",
            "write --set layers.kinds.full.feed_forward.activation=silu"
            " --set layers.kinds.full.feed_forward.gated=true",
        ),
    ],
)
def test_help_in_a_kind_of_layers(setting: str, help_: str) -> None:
    text = _config() + "layers: {pattern: full, kinds: {full: {}}}\n"
    assert worded(_one(text, f"layers.kinds.full.{setting}").help) == help_


def test_help_in_the_file_of_a_kind_of_layers() -> None:
    error = _one(_config() + "layers: {pattern: full, kinds: {full: {feed_forward: {n_experts: 0}, d_ff: 8}}}\n")
    assert error.help == "write n_experts: null for none, or for example n_experts: 8"
    error = _one(_config() + "layers: {pattern: full, kinds: {full: {x_y_z: 0}}}\n")
    assert error.message == 'unknown key "x_y_z" in layers.kinds.full'


def test_help_is_quoted_for_a_shell() -> None:
    assert worded(_one(_config(), "layers.pattern=[full]").help) == "for example --set 'layers.pattern=3 local, full'"


def test_every_error_is_found_at_once() -> None:
    text = _config(n_layers="0", d_ff="wide", n_heads=None) + "n_head: 4\nnorm:\n  kind: rms\n  eps: 2\nx: 1\n"
    assert [(found.code, found.field) for found in _found(text)] == [
        ("out-of-range", "n_layers"),
        ("wrong-type", "d_ff"),
        ("unknown-key", "n_head"),
        ("unknown-choice", "norm.kind"),
        ("out-of-range", "norm.eps"),
        ("unknown-key", "x"),
    ]


def test_missing_fields() -> None:
    found = _found("dropout: 0.1\n")
    assert [each.field for each in found] == list(REQUIRED)
    assert {each.code for each in found} == {"missing-key"}
    assert found[0].help == "add vocab_size: 256 (an integer from 1 to 100,000,000)"


def test_misspelled_is_not_missing() -> None:
    found = _one(_config(d_model=None) + "hidden_size: 128\n")
    assert (found.code, found.help) == ("unknown-key", "did you mean d_model?")


def test_wrapped_is_not_missing() -> None:
    found = _one("model:\n" + "".join(f"  {line}\n" for line in _config().splitlines()))
    assert found.help == "write its fields at the top level, without model:"


def test_block_as_field() -> None:
    found = _found(_config() + "models:\n  size: 3\n")
    assert found[0].help.startswith("expected one of ")
    assert _one(_config() + "norms:\n  eps: 0.1\n").help == "did you mean norm?"


@pytest.mark.parametrize(
    ("line", "help_"),
    [
        ("norm: rms_norm", "write kind: rmsnorm on a line of its own, indented under norm:"),
        ("position: 7", "write kind: sinusoidal on a line of its own, indented under position:"),
        ("attention: false", "write kind: multi_head on a line of its own, indented under attention:"),
        ("attention: mla", "write kind: mla on a line of its own, indented under attention:"),
        (
            "attention: gqa",
            "write kind: gqa on a line of its own, indented under attention:",
        ),
        (
            "feed_forward: swiglu",
            "write activation: silu, and gated: true, on lines of their own, indented under feed_forward:",
        ),
        ("feed_forward:", "write activation: gelu on a line of its own, indented under feed_forward:"),
    ],
)
def test_a_block_given_as_a_value(line: str, help_: str) -> None:
    found = _one(_config() + line + "\n")
    assert (found.code, found.help) == ("wrong-type", help_)


@pytest.mark.parametrize(
    ("override", "help_"),
    [
        ("n_layers=many", "for example --set n_layers=4"),
        ("n_layers=8.0", "write 8"),
        ("norm=rmsnorm", "write --set norm.kind=rmsnorm"),
        ("eps=1e-6", "did you mean norm.eps?"),
        ("bias=false", "did you mean norm.bias, attention.bias, feed_forward.bias or head.bias?"),
        ("feed_forward.activation=geglu", "write --set feed_forward.activation=gelu --set feed_forward.gated=true"),
        (
            "attention.n_kv_heads=0",
            "omit attention.n_kv_heads, or write for example --set attention.n_kv_heads=2",
        ),
        ("norm.esp=1", "did you mean norm.eps?"),
        ("feed_forward.activation=swish", "did you mean silu?"),
    ],
)
def test_remedy_for_override(override: str, help_: str) -> None:
    found = _one(_config(), override)
    assert worded(found.help) == help_
    assert found.source == SET
    assert found.span is not None
    assert found.span.text == override


@pytest.mark.parametrize(
    ("line", "help_"),
    [
        ("feed_forward: {activation: SwiGLU}", "write activation: silu, and gated: true"),
        ("attention: {window: none}", "omit attention.window, or write for example window: 1024"),
        (
            "attention: {logit_softcap: 0}",
            "omit attention.logit_softcap, or write for example logit_softcap: 50.0",
        ),
        ("attention: {n_kv_heads: -3}", "for example n_kv_heads: 2"),
        ("attention: {window_pattern: lg}", "write LG"),
        ("attention: {qk_norm: true}", "write per_head"),
        ("bias: false", "did you mean bias inside the norm, attention, feed_forward or head block?"),
        ("mlp: {gated: true}", "did you mean feed_forward?"),
        ("rope_scaling: {type: linear, factor: 2.0}", "did you mean scaling inside the position block?"),
        ("torch_dtype: bfloat16", "remove it: a config describes the architecture only"),
        ("norm: {color: 1}", "expected one of kind, eps, placement, weight, bias, zero_centered"),
    ],
)
def test_common_foreign_spellings(line: str, help_: str) -> None:
    assert _one(_config() + line + "\n").help == help_


def test_long_block_names_similar_fields() -> None:
    help_ = worded(_one(_config() + "feed_forward: {capacity: 1}\n").help)
    assert help_.startswith("feed_forward has 38 fields, such as ")
    assert help_.endswith("; tinylm schema --format markdown lists them")
    assert help_.count(",") == 1 + 5


@pytest.mark.parametrize(
    ("items", "code", "what", "help_"),
    [
        ("[1.0, x, y]", "wrong-type", '2: "x"', "for example long_factors: [1.0, 4.0]"),
        ("[1.0, '2.5', '3']", "wrong-type", '2: "2.5"', "write 2.5"),
        ("[1.0, 50%]", "wrong-type", '2: "50%"', "write 0.5"),
        ("[0]", "out-of-range", "1: 0", "for example long_factors: [1.0, 4.0]"),
        ("[1.0, [2.0]]", "wrong-type", "2: [2.0]", "for example long_factors: [1.0, 4.0]"),
        ("[.inf]", "not-finite", "1: .inf", "for example long_factors: [1.0, 4.0]"),
        ("[1.0, null]", "wrong-type", "2: null", "for example long_factors: [1.0, 4.0]"),
    ],
)
def test_first_wrong_item(items: str, code: str, what: str, help_: str) -> None:
    found = _one(_config() + f"position: {{kind: rope, long_factors: {items}}}\n")
    number, _, shown = what.partition(": ")
    wants = f"number {number} of position.long_factors must be a number above 0 and at most 1,000,000,000"
    assert (found.code, found.message, found.help) == (code, f"{wants}, not {shown}", help_)
    assert found.span is not None
    assert found.span.column > 36


def test_non_list_is_one_error() -> None:
    found = _one(_config() + "position: {kind: rope, long_factors: 4.0}\n")
    assert found.message == "position.long_factors must be a list of numbers above 0 and at most 1,000,000,000, not 4.0"


def test_rule_place_and_defaults() -> None:
    found = _one(_config(d_model="125", n_heads="5"))
    assert found.code == "odd-sinusoidal-width"
    assert found.message.endswith("; position.kind is sinusoidal by default")
    assert (found.span and found.span.line, found.labels) == (2, ())


def test_rule_labels() -> None:
    found = _one(_config(n_heads="5"))
    assert found.field == "n_heads"
    assert [(label.span.line, label.text) for label in found.labels] == [(2, "d_model is 128")]


def test_rule_across_file_and_override() -> None:
    found = _one(_config(), "n_heads=5")
    assert found.span is not None
    assert (found.span.source, found.labels[0].span.source) == (SET, "x.yaml")


def test_reported_once() -> None:
    assert _one(_config(d_model="*width")).code == "alias"
    assert _one(_config(d_model="!!str [128]")).code == "tag"
    assert _one(_config(d_model="1" * 200)).code == "number-too-long"
    assert [each.code for each in _found(_config(d_model="&a *b"))] != []


WRONG = [
    "x",
    "[x]",
    "{a: 1}",
    "1e400",
    ".nan",
    "-1",
    "'1'",
    "2.5",
    "yes",
    '"\\x1b"',
    "1_0",
    "10%",
    "null",
    "[[1]]",
    "1.5K",
]


@given(st.sampled_from(list(fields())), st.sampled_from(WRONG))
def test_fuzz_values(name: str, value: str) -> None:
    block, _, last = name.rpartition(".")
    line = f"{block}:\n  {last}: {value}\n" if block else f"{last}: {value}\n"
    text = _config(**{name: value}) if name in REQUIRED else _config() + line
    try:
        parse_config(Source("x.yaml", text))
    except ConfigError as error:
        (found,) = error.diagnostics
        assert found.field == name or found.field.startswith(f"{name}.")  # inside a mapping
        assert found.help
        assert found.span is not None
        pointed = found.span.text[found.span.column - 1 : found.span.end_column - 1]
        assert pointed == value or (fields()[name].kind in ("kinds", "numbers", "sequence") and pointed in value)
