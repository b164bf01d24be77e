"""Measure tinylm against its baselines in one run: ``python benchmarks/run.py``.

The programs of a group alternate for several rounds. Figures are medians; the ratio of minima is printed next to the
ratio of medians. Nothing is downloaded. ``--only`` selects groups, ``--quick`` tries the script out.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import commands, construction, design_search, mixer_speed, model_speed
from benchmarks.cpu_contention import MAX_OTHERS_SHARE, CpuContention
from benchmarks.measure import Figures, Options, Row

GROUPS: dict[str, Callable[[Options], Iterator[Row]]] = {
    "startup": commands.startup,
    "build": commands.build,
    "validate": commands.validate,
    "depth": commands.depth,
    "limits": commands.limits,
    "design": design_search.design,
    "memory": construction.memory,
    "construction": construction.construction,
    "forward": model_speed.forward,
    "generation": model_speed.generation,
    "mixers": mixer_speed.mixers,
}
RESULTS = Path(__file__).resolve().parent / "results.json"
PACKAGES = ("torch", "transformers", "typer", "pydantic", "rich", "ruamel.yaml")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the selected groups and return the exit code."""
    args = _parser().parse_args(arguments)
    options = Options(args.rounds, args.quick)
    contention = CpuContention()
    rows: list[Row] = []
    for group in args.only or GROUPS:
        print(f"measuring {group} …", file=sys.stderr, flush=True)
        rows += GROUPS[group](options)
    others = contention.others_share()
    args.output.write_text(json.dumps(_document(rows, options, others), indent=2) + "\n", encoding="utf-8")
    _print(rows, others)
    missed = [row for row in rows if row.met is False]
    return 1 if args.strict and missed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks/run.py", description=__doc__)
    parser.add_argument(
        "--only", nargs="+", choices=GROUPS, metavar="GROUP", help=f"groups to run: {', '.join(GROUPS)}"
    )
    parser.add_argument("--rounds", type=_positive, help="samples of each program (default: 3 to 21, by group)")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, smallest model, fewer files")
    parser.add_argument("--output", type=Path, default=RESULTS, metavar="FILE", help="JSON (default: %(default)s)")
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a target is missed")
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not a positive number of rounds")
    return value


def _document(rows: Sequence[Row], options: Options, others: float | None) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "platform": platform.platform(),
            "cpus": os.cpu_count(),
            "others_share": others,
        },
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "quick": options.quick,
        "rows": [
            {**asdict(row), "ratio": row.ratio, "ratio_of_mins": row.ratio_of_mins, "met": row.met} for row in rows
        ],
    }


def _print(rows: Sequence[Row], others: float | None) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("measured", "against"):
        table.add_column(heading, overflow="fold")  # long commands wrap, so that the figures keep their columns
    for heading in ("median", "baseline", "ratio", "of mins", "target", "rounds"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("met", no_wrap=True)
    for row in rows:
        sign = "" if row.target is None else "≥" if row.target.at_least else "≤"
        table.add_row(
            row.name,
            row.against,
            _figure(row.measured, row.unit),
            _figure(row.baseline, row.unit),
            f"{row.ratio:.2f}" if row.baseline else "",
            f"{row.ratio_of_mins:.2f}" if row.baseline else "",
            f"{sign} {row.target.limit:g}" if row.target else "",
            str(row.rounds),
            {True: "yes", False: "NO", None: ""}[row.met],
            style="red" if row.met is False else None,
        )
    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    console.print(table)
    for row in rows:
        if row.note:
            console.print(f"{row.name}: {row.note}")
    if others is not None:
        console.print(f"Other processes used {others:.0%} of the time of {os.cpu_count()} processors.")
        if others > MAX_OTHERS_SHARE:
            console.print("Measure again on an idle machine: multithreaded figures are affected most.")


def _figure(figures: Figures | None, unit: str) -> str:
    if figures is None:
        return ""
    if unit == "s":
        return f"{figures.median:.2f} s" if figures.median >= 1 else f"{1000 * figures.median:.3g} ms"
    return f"{figures.median:,.0f} {unit}".rstrip()


if __name__ == "__main__":
    sys.exit(main())
