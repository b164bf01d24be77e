"""Measure time and peak memory of building a model with initialized weights."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from benchmarks.measure import Figures, Options, Row, Sample, Target, alternate, call, run_process

MIB = 1024**2

_PREPARE = """
import torch
from tinylm_cli.config.loader import load_yaml_config
from tinylm_cli.model import TinyTransformerLM

config = load_yaml_config("base").config
"""
_BUILD = "model = TinyTransformerLM.from_config(config)\n"

# ru_maxrss starts at the parent's size at the fork, so Linux's VmHWM is read if there is one; both count KiB on Linux,
# and ru_maxrss counts bytes on macOS
_REPORT = """
import re, resource, sys
from pathlib import Path

status = Path("/proc/self/status")
if status.exists():
    print(int(re.search(r"VmHWM:\\s+(\\d+)", status.read_text())[1]) * 1024)
else:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024))
"""


def construction(options: Options) -> Iterator[Row]:
    """Compare building base with drawing the same number of normal random numbers in one call."""
    import torch

    from tinylm_cli.config.loader import load_yaml_config
    from tinylm_cli.model import TinyTransformerLM

    rounds = options.rounds_or(7)
    config = load_yaml_config("base").config
    count = sum(parameter.numel() for parameter in TinyTransformerLM.from_config(config, device="meta").parameters())
    programs = {
        "build": call(lambda: TinyTransformerLM.from_config(config)),
        "normal": call(lambda: torch.empty(count).normal_()),
    }
    figures = alternate(programs, rounds)
    yield Row("build base", f"{count:,} normals", "s", rounds, figures["build"], figures["normal"], Target(1.1))


def memory(options: Options) -> Iterator[Row]:
    """Measure the peak of a process that builds base against the same imports plus the bytes of its weights."""
    from tinylm_cli.analysis.params import total_params
    from tinylm_cli.analysis.tensor_table import tensor_table
    from tinylm_cli.config.loader import load_yaml_config

    rounds = options.rounds_or(3)
    weights = 4 * total_params(tensor_table(load_yaml_config("base").config)) / MIB
    figures = alternate({"build": _peak(_PREPARE + _BUILD), "imports": _peak(_PREPARE)}, rounds)
    imports = figures["imports"]
    needed = Figures(imports.median + weights, imports.min + weights)
    yield Row("peak memory, build base", "imports + weights", "MiB", rounds, figures["build"], needed, Target(1.1))


def _peak(program: str) -> Sample:
    """Return a sample of the peak resident memory of ``python -c program``, in MiB."""
    return lambda: int(run_process(sys.executable, "-c", program + _REPORT)) / MIB
