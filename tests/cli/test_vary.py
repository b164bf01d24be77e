"""What ``--vary`` takes."""

from __future__ import annotations

import pytest

from tinylm_cli.cli.vary import parse_vary
from tinylm_cli.errors import UsageError


@pytest.mark.parametrize(
    ("written", "values"),
    [
        ("n_layers=4..24:4", ("4", "8", "12", "16", "20", "24")),
        ("n_layers=4..6", ("4", "5", "6")),
        ("n_layers=4..11:4", ("4", "8")),
        ("n_layers=7..7", ("7",)),
        ("d_model=256, 512", ("256", "512")),
        ("norm.kind=layernorm,rmsnorm", ("layernorm", "rmsnorm")),
        ("tie_weights=true", ("true",)),
    ],
)
def test_a_range_or_a_list(written: str, values: tuple[str, ...]) -> None:
    (varied,) = parse_vary([written])
    assert (varied.field, varied.values) == (written.partition("=")[0], values)


@pytest.mark.parametrize(
    ("written", "says", "remedy"),
    [
        (["n_layers"], "expected field=values", "n_layers=4..24:4"),
        (["=4"], "expected field=values", None),
        (["n_layers="], "expected field=values", None),
        (["n_layer=4"], "no field is called n_layer", "did you mean n_layers?"),
        (["xyzzy=4"], "no field is called xyzzy", "tinylm schema"),
        (["n_layers=4,,5"], "a range or a list", None),
        (["n_layers=a..b"], "a range or a list", None),
        (["n_layers=5..4"], "holds nothing", None),
        (["n_layers=4..5:0"], "holds nothing", None),
        (["n_layers=1..999999999999"], "1,000 values are the most", "larger steps"),
        (["n_layers=1..40", "d_model=1..40"], "makes 1,600 configs", "larger steps"),
        (["n_layers=1", "n_layers=2"], "given n_layers twice", None),
        (["n_layers=1", "d_model=2", "d_ff=3"], "one field or two", "--set"),
    ],
)
def test_what_does_not_fit(written: list[str], says: str, remedy: str | None) -> None:
    with pytest.raises(UsageError) as raised:
        parse_vary(written)
    assert says in raised.value.message
    assert (remedy or "") in raised.value.help
