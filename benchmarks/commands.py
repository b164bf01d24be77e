"""Time whole commands, from the start of the process to its end."""

from __future__ import annotations

import compileall
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import ROOT, TINYLM, Figures, Options, Row, Target, alternate, process, python

IMPORTS = "import typer, pydantic, rich.table, rich.tree, ruamel.yaml"
"""Imports of a typical command-line tool. pydantic loads its attributes on first use; ``IMPORTS_USED`` also loads those
that the definition of a model uses."""

IMPORTS_USED = f"{IMPORTS}; from pydantic import BaseModel, Field"
IMPORTS_TORCH = IMPORTS.replace("import ", "import torch, ")

TORCH_FREE: dict[str, tuple[str | Path, ...]] = {
    "tinylm --help": ("--help",),
    "tinylm params": ("params",),
    "tinylm validate configs/tiny.yaml": ("validate", ROOT / "configs" / "tiny.yaml"),
    "tinylm list": ("list",),
}
DEEP = 10_000
FILES_PER_SECOND = 100

_GPUS = "--gpu h100 --gpus"
_LAYERS = "--set n_layers=100000"
_WINDOWS = "--set attention.window=64 --set attention.window_pattern=LLLLLG"
_VARIANTS = " ".join(f"@n_layers={n}" for n in range(2, 101))
AT_LIMITS: dict[str, tuple[int, float]] = {
    f"estimate tiny {_LAYERS} {_GPUS} 64": (0, 2),
    f"estimate tiny {_LAYERS} {_GPUS} 1000000": (0, 2),
    f"estimate tiny {_LAYERS} {_WINDOWS} --gpu l4 --gpus 4096": (0, 2),
    f"estimate qwen3-30b-a3b {_GPUS} 4096 --plan zero=2 --seq-len 8k": (0, 2),
    f"estimate qwen3-30b-a3b {_GPUS} 524288": (0, 2),
    f"estimate qwen3-30b-a3b {_GPUS} 36864": (2, 2),
    f"compare small {_VARIANTS}": (0, 2),
    "sweep small n_layers=1..500": (0, 2),
    "design --params 125M --tolerance 1 --top 500": (0, 2),
    "design --params 30B --family qwen3": (0, 2),
    "design --params 70B --family gemma2 --tolerance 0.9": (2, 2),
    f"design --params 70B --family llama {_GPUS} 512": (0, 2),
    f"design --params 13B --family qwen3 {_GPUS} 8": (0, 2),
    f"design --family qwen3 {_GPUS} 8": (0, 2),
    f"params tiny --by tensor {_LAYERS}": (0, 2),
    "params tiny --by tensor --expand --format json --set n_layers=3000": (0, 2),
    "params tiny --by layer --expand --set n_layers=49000": (0, 2),
    f"params tiny --by tensor --expand {_LAYERS}": (2, 2),
    f"show tiny {_LAYERS}": (0, 2),
    f"validate tiny {_LAYERS}": (0, 2),
    f"export tiny -o absent-folder {_LAYERS}": (2, 2),
    f"build tiny --meta {_LAYERS}": (2, 2),
    "build tiny --meta --set n_layers=10000": (0, 10),
    "forward tiny --meta --random 1x8 --set n_layers=1000": (0, 15),
    "forward tiny --meta --random 1x8 --set n_layers=1001": (2, 2),
}
"""Commands with the largest accepted inputs, and with larger ones: the exit code, and the maximum seconds."""


def startup(options: Options) -> Iterator[Row]:
    """Time the commands that need no torch against the bare imports, and check that they do not import it."""
    rounds = options.rounds_or(21)
    compileall.compile_dir(ROOT / "tinylm_cli", quiet=2)  # as pip does; python may be set not to write bytecode
    commands = {name: process(TINYLM, *words) for name, words in TORCH_FREE.items()}
    figures = alternate({**commands, "imports": python(IMPORTS), "imports, used": python(IMPORTS_USED)}, rounds)
    for name in TORCH_FREE:
        yield Row(name, "imports", "s", rounds, figures[name], figures["imports"], Target(1.3))
    for name in TORCH_FREE:
        yield Row(name, "imports and BaseModel", "s", rounds, figures[name], figures["imports, used"], None)
    offenders = [name for name, words in TORCH_FREE.items() if _imports_torch(*words)]
    count = Figures.of([len(offenders)])
    yield Row(
        "commands that import torch", "", "", 1, count, None, Target(0), ", ".join(offenders) or "none of the four"
    )


def build(options: Options) -> Iterator[Row]:
    """Time building a model from the command line against the same imports and torch."""
    rounds = options.rounds_or(9)
    name = "tinylm build small"
    figures = alternate({name: process(TINYLM, *name.split()[1:]), "imports": python(IMPORTS_TORCH)}, rounds)
    yield Row(name, "imports and torch", "s", rounds, figures[name], figures["imports"], Target(1.15))


def validate(options: Options) -> Iterator[Row]:
    """Time one process that validates many files."""
    rounds = options.rounds_or(5)
    count = 100 if options.quick else 1000
    with tempfile.TemporaryDirectory(prefix="tinylm-benchmark-") as folder:
        for index in range(count):
            Path(folder, f"model-{index:04}.yaml").write_text(_config(index), encoding="utf-8")
        name = f"tinylm validate, {count:,} files"
        figures = alternate({name: process(TINYLM, "validate", folder)}, rounds)[name]
    needed = Figures.of([count / FILES_PER_SECOND])
    against = f"{FILES_PER_SECOND} files per second"
    note = f"{count / figures.median:,.0f} files per second"
    yield Row(name, against, "s", rounds, figures, needed, Target(1.0, at_least=True), note)


def depth(options: Options) -> Iterator[Row]:
    """Time counting a very deep model against counting a shallow one."""
    rounds = options.rounds_or(21)
    shallow = (TINYLM, "params", "tiny")
    deep = (*shallow, "--set", f"n_layers={DEEP}")
    figures = alternate({"deep": process(*deep), "shallow": process(*shallow)}, rounds)
    name = f"tinylm params, {DEEP:,} layers"
    yield Row(name, "4 layers", "s", rounds, figures["deep"], figures["shallow"], Target(1.2))


def limits(options: Options) -> Iterator[Row]:
    """Time commands with the largest accepted inputs, and the rejection of larger ones, against maximum times."""
    rounds = options.rounds_or(3)
    for words, (code, seconds) in AT_LIMITS.items():
        figures = alternate({words: process(TINYLM, *words.split(), code=code)}, rounds)[words]
        name = words.replace(_VARIANTS, "with 99 variants")
        yield Row(f"tinylm {name}", f"{seconds:g} s", "s", rounds, figures, Figures.of([seconds]), Target(1.0))


def _imports_torch(*words: str | Path) -> bool:
    """Return whether a command imports torch, by ``-X importtime``."""
    command = [sys.executable, "-X", "importtime", TINYLM, *words]
    done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, text=True, check=True)
    return re.search(r"\|\s+torch(\.|$)", done.stderr, re.MULTILINE) is not None


def _config(index: int) -> str:
    """Return a valid config with comments and blocks; the first thousand are distinct."""
    heads = 2 + index % 14
    d_model = heads * 32 * (1 + index % 3)
    return f"""\
# variant {index}
vocab_size: {1000 + index}  # word pieces
d_model: {d_model}
n_heads: {heads}
n_layers: {1 + index % 48}
d_ff: {4 * d_model}

max_len: {256 << index % 4}
dropout: 0.{index % 5}
tie_weights: {"true" if index % 2 else "false"}
position:
  kind: {("sinusoidal", "learned", "none")[index % 3]}
norm: {{kind: {("layernorm", "rmsnorm")[index % 2]}, eps: 1e-{5 + index % 2}}}
feed_forward:
  activation: {("gelu", "gelu_tanh", "relu", "silu")[index % 4]}
"""
