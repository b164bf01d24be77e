from __future__ import annotations

import pytest

from tinylm_cli.interop.verification.collapsed_names import collapse, common_layers


@pytest.mark.parametrize(
    ("names", "collapsed"),
    [
        ([], ()),
        (["a.weight"], ("a.weight",)),
        (["h.0.a", "h.1.a", "h.2.a"], ("h.{0..2}.a",)),
        (["h.0.a", "h.2.a", "h.3.a"], ("h.{0, 2..3}.a",)),
        (["h.0.a", "h.0.b", "h.1.a", "h.1.b"], ("h.{0..1}.a", "h.{0..1}.b")),
        ([f"h.{i}.e.{e}.w" for i in (0, 1) for e in (0, 1)], ("h.{0..1}.e.{0..1}.w",)),
        (["h.0.e.0.w", "h.0.e.1.w", "h.1.e.0.w"], ("h.0.e.{0..1}.w", "h.1.e.0.w")),
        (["h.0.0.0", "h.0.1.0", "h.1.0.0", "h.1.1.0"], ("h.{0..1}.{0..1}.0",)),
        (["a.b", "a.b.0"], ("a.b", "a.b.0")),
        (["", ".", "9" * 40], ("", ".", "9" * 40)),
        (["h.7.a"], ("h.7.a",)),
    ],
)
def test_collapse(names: list[str], collapsed: tuple[str, ...]) -> None:
    assert collapse(names) == collapsed


@pytest.mark.parametrize(
    ("names", "shared"),
    [
        (["model.layers.3.a.b", "model.layers.3.c"], "model.layers.3"),
        (["model.layers.{0..3}.a.b", "model.layers.{0..3}.a.c"], "model.layers.{0..3}"),
        (["model.a", "model.b"], ""),
        (["h.1.a", "h.2.a"], ""),
    ],
)
def test_common_layers(names: list[str], shared: str) -> None:
    assert common_layers(names) == shared
