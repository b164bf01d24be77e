"""Targets and what is in the way of them, in words that tell the two apart."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tinylm_cli.analysis.design.design import analyze_design
from tinylm_cli.analysis.design.families import FAMILIES
from tinylm_cli.analysis.design.goals import Goal
from tinylm_cli.analysis.design.search_space import Space
from tinylm_cli.config.amounts import UNITS, AmountKind
from tinylm_cli.render.views.constraints import aims_words, obstacles_words
from tinylm_cli.reports.design import Aim, DesignReport, Obstacle, Sizes


def report_of(*aims: Aim, family: str = "course", nearest: float | None = None) -> DesignReport:
    """Return a report of what is asked, in whose way is the first, which ``nearest`` comes nearest to."""
    template = FAMILIES[family]
    space = Space(template, 1000, 128, tie_weights=True)
    empty = analyze_design(space, [Goal("total_params", 10**15, 0.02)], top=1, tolerance=0.02)
    found = () if nearest is None else (Obstacle(aims[0], False, nearest, Sizes(64, 2, 1, 1, 64, 256)),)
    return replace(empty, aims=aims, obstacles=found)


EMPTY = report_of()
"""Nothing asked, of the course's family: what tests fill in."""


def limit(figure: str, unit: str, most: float) -> Aim:
    return Aim(figure, unit, most, None, 0, most, "asked")  # type: ignore[arg-type]


def told(aim: Aim, nearest: float) -> tuple[str, str]:
    """Return the amount that is asked for and the one that comes nearest, as one sentence tells them."""
    obstacle = Obstacle(aim, True, nearest, Sizes(64, 2, 1, 1, 64, 256))
    (words,) = obstacles_words(replace(EMPTY, aims=(aim,), obstacles=(obstacle,)))
    asked = r"Nothing in the grid of the family course keeps to at (?:most|least) (.*) (?:a token|of weights|decoded)"
    found = re.fullmatch(rf"{asked}: .* with (.*)\.", words)
    assert found is not None
    return found[1], found[2]


@pytest.mark.parametrize(
    ("aim", "nearest", "said"),
    [
        (limit("forward_flops_per_token", "flops", 16 * 10**9), 16_000_480_000, ("16 GFLOP", "16.0005 GFLOP")),
        (limit("forward_flops_per_token", "flops", 16 * 10**9), 17_234_000_000, ("16 GFLOP", "17.2 GFLOP")),
        (limit("weights_bytes", "bytes", 15 * 10**9), 15_001_000_000, ("15 GB", "15.001 GB")),
        (limit("weights_bytes", "bytes", 2**30), 2**30 + 2, ("1 GiB", "1.000000002 GiB")),
        (limit("weights_bytes", "bytes", 1001), 1002, ("1,001 B", "1,002 B")),
        (limit("weights_bytes", "bytes", 2), 2**20, ("2 B", "1.00 MiB")),
    ],
)
def test_an_amount_is_told_with_digits_enough(aim: Aim, nearest: float, said: tuple[str, str]) -> None:
    assert told(aim, nearest) == said


def test_a_speed_is_told_with_digits_enough() -> None:
    aim = Aim("decode_tokens_per_second", "tokens_per_second", 900.0, None, 900.0, None, "asked")
    assert told(aim, 899.98) == ("900 tokens/s", "899.98 tokens/s")
    assert told(aim, 512.25) == ("900 tokens/s", "512 tokens/s")


@given(st.integers(1, 10**15), st.integers(1, 10**15))
@example(16 * 10**9, 16 * 10**9 + 1)
def test_two_amounts_never_look_alike(most: int, beyond: int) -> None:
    kinds: tuple[tuple[str, str, AmountKind], ...] = (
        ("weights_bytes", "bytes", "size"),
        ("forward_flops_per_token", "flops", "flops"),
    )
    for figure, unit, kind in kinds:
        asked, nearest = (_number(words, kind) for words in told(limit(figure, unit, most), most + beyond))
        assert asked == most
        assert asked < nearest


def _number(words: str, kind: AmountKind) -> float:
    number, unit = words.split()
    return float(number.replace(",", "")) * UNITS[kind].get(unit.removesuffix("FLOP"), 1)


def test_what_is_wanted_beside_is_said_and_not_called_a_limit() -> None:
    total = Aim("total_params", "params", 125_000_000, 0.02, 122_500_000, 127_500_000, "asked")
    active = Aim("active_params", "params", 100_000_000, 0.02, 98_000_000, 102_000_000, "asked")
    cache = limit("kv_cache_bytes", "bytes", 2**20)
    words = " ".join(obstacles_words(report_of(total, active, nearest=101_973_632)))
    assert words == (
        "Nothing in the grid of the family course meets all of this. With 100M active parameters ± 2%, nearest to 125M"
        " parameters is a model of 64 × 2 with 101,973,632. Models of course have"
        " no experts: a token uses every parameter, and active is total."
    )
    routed = " ".join(obstacles_words(report_of(total, active, family="mixtral", nearest=101_973_632)))
    assert "no experts" not in routed
    _, beside = obstacles_words(report_of(total, cache, nearest=7))
    assert beside.startswith("Within the limits, nearest to 125M parameters is")
    _, other = obstacles_words(report_of(cache, limit("weights_bytes", "bytes", 9), nearest=2**21))
    assert other.startswith("In the way is at most 1 MiB of keys and values: within the other limits, the least is")


def test_the_grid_is_named_once() -> None:
    aims = limit("kv_cache_bytes", "bytes", 1024), limit("weights_bytes", "bytes", 1024)
    found = tuple(Obstacle(aim, True, 4096, Sizes(64, 2, 1, 1, 64, 256)) for aim in aims)
    first, second = obstacles_words(replace(EMPTY, aims=aims, obstacles=found))
    assert first.startswith("Nothing in the grid of the family course keeps to at most 1 KiB of keys and values: the")
    assert second.startswith("Nothing in it keeps to at most 1 KiB of weights: the least is")


def test_what_was_asked_is_listed() -> None:
    asked = limit("weights_bytes", "bytes", 15 * 10**9), limit("forward_flops_per_token", "flops", 20 * 10**9)
    assert aims_words(report_of(*asked)) == "at most 15 GB of weights, at most 20 GFLOP a token"
