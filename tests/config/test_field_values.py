"""Ranges and lists of values for one or two fields."""

from __future__ import annotations

import pytest

from tinylm_cli.cli.wording import worded
from tinylm_cli.config.field_values import parse_field_values
from tinylm_cli.errors import ConfigError, Span, TinylmError


@pytest.mark.parametrize(
    ("written", "values"),
    [
        ("n_layers=4..24:4", ("4", "8", "12", "16", "20", "24")),
        ("n_layers=4..6", ("4", "5", "6")),
        ("n_layers=4..11:4", ("4", "8")),
        ("n_layers=7..7", ("7",)),
        ("d_model=256, 512", ("256", "512")),
        ("max_len=1k..3k:1K", ("1024", "2048", "3072")),
        ("layers.kinds.local.attention.window=512..1k:512", ("512", "1024")),
        ("vocab_size=1k..2k:1k", ("1000", "2000")),
        ("max_len=1k,2k", ("1k", "2k")),
        ("norm.kind=layernorm,rmsnorm", ("layernorm", "rmsnorm")),
        ("tie_weights=true", ("true",)),
        ("layers.kinds.full.attention.n_kv_heads=2,4", ("2", "4")),
        ('layers.pattern=full, "3 linear, full",(full, linear)', ("full", '"3 linear, full"', "(full, linear)")),
        ("position.short_factors=[1, 2],[3, 4]", ("[1, 2]", "[3, 4]")),
    ],
)
def test_range_or_list(written: str, values: tuple[str, ...]) -> None:
    assert parse_field_values([written]) == {written.partition("=")[0]: values}


@pytest.mark.parametrize(
    ("written", "says", "remedy"),
    [
        (["n_layers"], "n_layers: expected key=values", "n_layers=4..24:4"),
        ([""], "an empty string: expected key=values", None),
        (["=4"], "expected key=values", None),
        (["n_layers="], "expected key=values", None),
        (["n_layer=4"], 'unknown field "n_layer"', "did you mean n_layers?"),
        (["feed_forward.d_ff=4"], "unknown field", "did you mean d_ff?"),
        (["d_head=4"], "unknown field", "did you mean attention.d_head?"),
        (["xyzzy=4"], 'unknown field "xyzzy"', "tinylm schema"),
        (["layers.kinds.full.attention.n_heads=4"], "unknown field", "did you mean layers.kinds.full.n_heads?"),
        (["layers.kinds.full=4"], "unknown field", "did you mean layers.kinds?"),
        (["layers.pattern=full,"], "a range or a list", None),
        (["n_layers=4,,5"], "a range or a list", None),
        (["n_layers=a..b"], "a range or a list", None),
        (["n_layers=1k..2k"], "a range or a list", None),
        (["n_layers=5..4"], "the range is empty", None),
        (["n_layers=4..5:0"], "n_layers=4..5:0: the step must be positive", None),
        (["n_layers=1..999999999999"], "the limit is 500 values", "larger steps"),
        (["n_layers=1..40", "d_model=1..40"], "makes 1,600 configs", "larger steps"),
        (["n_layers=1", "n_layers=2"], "n_layers is given twice", None),
        (["n_layers=1", "d_model=2", "d_ff=3"], "one or two fields", "--set"),
    ],
)
def test_bad_fields(written: list[str], says: str, remedy: str | None) -> None:
    with pytest.raises(TinylmError) as raised:
        parse_field_values(written)
    assert says in raised.value.message
    assert (remedy or "") in worded(raised.value.help)


def test_errors_point_at_the_argument() -> None:
    with pytest.raises(ConfigError) as raised:
        parse_field_values(["d_model=64", "n_layer=2..4"])
    (error,) = worded(raised.value.diagnostics)
    assert error.span == Span("KEY=VALUES", 1, 1, 8, "n_layer=2..4")
    assert raised.value.exit_code == 2
