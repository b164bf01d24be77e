"""The grid in words, with the source of each choice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tinylm_cli.analysis.design.families import Family
from tinylm_cli.analysis.design.grid import Grid
from tinylm_cli.reports.design import Axis

_NVIDIA = "NVIDIA 2023, Matrix Multiplication Background: tensor cores and tiles take multiples of 64 and 128"
_KAPLAN = "Kaplan et al. 2020, figure 5, https://arxiv.org/abs/2001.08361: the loss hardly depends on it"
_LEVINE = "Levine et al. 2020, https://arxiv.org/abs/2006.12467: depth beyond what a width bears is wasted"
_VASWANI = "Vaswani et al. 2017, https://arxiv.org/abs/1706.03762: 4"
_SHAZEER = "Shazeer 2020, https://arxiv.org/abs/2002.05202: 8/3 with a gate has the parameters of 4 without"
_DAI = "Dai et al. 2024, https://arxiv.org/abs/2401.06066: many small experts"
_AINSLIE = "Ainslie et al. 2023, https://arxiv.org/abs/2305.13245"
_DAO = "Dao 2023, https://arxiv.org/abs/2307.08691: attention kernels are tuned for 64 and 128"


def axes(grid: Grid, family: Family) -> Iterator[Axis]:
    """Yield what each size of the grid may be."""
    low, high = family.d_ff_ratios
    ratio_source = _DAI if high < 1 else _SHAZEER if family.config.feed_forward.gated else _VASWANI
    yield Axis("d_model", ", ".join(_steps(widths) for widths in grid.d_models), _NVIDIA)
    yield Axis("n_layers", f"{grid.n_layers.start} to {grid.n_layers.stop - 1}", _LEVINE)
    yield Axis("d_model / n_layers", f"{grid.aspects[0]} to {grid.aspects[1]}", _KAPLAN)
    yield Axis("d_head", _either(family.d_heads), _DAO)
    yield Axis("n_heads", _heads(family), family.source)
    yield Axis("n_heads / n_kv_heads", _either(family.groups), _AINSLIE if max(family.groups) > 1 else family.source)
    yield Axis("d_ff / d_model", f"{low:g} to {high:g}", ratio_source)
    yield Axis("d_ff", ", ".join(_multiples(grid.d_ff_steps)), _NVIDIA)


def _heads(family: Family) -> str:
    if not family.spans:
        return "d_model / d_head"
    spans = _either([f"{span:g}" for span in family.spans])
    return f"{spans} times d_model / d_head, to the nearest multiple of {family.heads_step}"


def _steps(widths: range) -> str:
    return f"{widths[0]} to {widths[-1]} by {widths.step}"


def _multiples(steps: Sequence[tuple[int, int]]) -> Iterator[str]:
    for start, step in steps:
        yield f"multiples of {step}" + (f" from d_model {start} on" if start else "")


def _either(values: Sequence[object]) -> str:
    *others, last = map(str, values)
    return f"{', '.join(others)} or {last}" if others else last
