"""The screen of a sweep: its chart, and its invalid points by error."""

from __future__ import annotations

from tinylm_cli.render.terminal import Terminal
from tinylm_cli.render.text import to_text
from tinylm_cli.render.views.sweep import sweep_view
from tinylm_cli.reports.sweep import SweepPoint, SweepReport, SweptField

FIGURES = {
    "total_params": 1000,
    "active_params": 1000,
    "forward_flops_per_token": 2000,
    "kv_cache_bytes": 64,
    "state_bytes": 0,
    "weights_bytes": 2000,
    "train_bytes_per_gpu": 9000,
}


def report_of(*points: SweepPoint, **fields: tuple[str, ...]) -> SweepReport:
    swept = tuple(SweptField(name, values) for name, values in fields.items())
    return SweepReport("small", "small", "bfloat16", 1, None, "adamw", "none", "total_params", "params", swept, points)


def shown(report: SweepReport) -> str:
    return to_text(sweep_view(report), Terminal(width=80))


def test_bars() -> None:
    points = [
        SweepPoint((str(n),), {**FIGURES, "total_params": n * 1000, "active_params": n * 1000}, "") for n in (1, 2)
    ]
    lines = shown(report_of(*points, n_layers=("1", "2"))).splitlines()
    assert [line.split()[:3] for line in lines[3:5]] == [["1", "1,000", "█" * 10], ["2", "2,000", "█" * 20]]


def test_grid_of_two_fields() -> None:
    points = [
        SweepPoint(
            (n, d), None if d == "5" else {**FIGURES, "total_params": int(n) * int(d)}, "" if d != "5" else "odd"
        )
        for n in ("1", "2")
        for d in ("4", "5")
    ]
    text = shown(report_of(*points, n_layers=("1", "2"), d_model=("4", "5")))
    assert "\n\nparameters\n\nn_layers \\ d_model  4  5\n                 1  4  –\n                 2  8  –\n" in text
    assert text.endswith("d_model 5: odd.\n")


def test_errors_are_grouped() -> None:
    values = tuple(map(str, range(1, 6)))
    points = [SweepPoint((value,), None, "not divisible") for value in values]
    text = shown(report_of(*points, d_model=values))
    assert text.endswith("d_model 1; d_model 2; d_model 3 and 2 more: not divisible.\n")


def test_many_errors_are_counted() -> None:
    values = tuple(map(str, range(1, 9)))
    points = [SweepPoint((value,), None, f"wrong {letter}") for value, letter in zip(values, "abcdefgh", strict=True)]
    text = shown(report_of(*points, d_model=values))
    assert text.count("wrong") == 5
    assert text.endswith("3 more are invalid; the JSON report has their errors.\n")
