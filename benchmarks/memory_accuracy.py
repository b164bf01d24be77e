"""Compare predicted memory with memory measured by torch: ``python benchmarks/memory_accuracy.py``.

Autograd's hooks count saved tensors; torch's MemTracker counts the peak of a training step, and so does CUDA's
allocator if there is a GPU. Published models are measured at full size with fake tensors. Writes docs/accuracy.md;
nothing is downloaded.
"""

from __future__ import annotations

import argparse
import platform
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch

from benchmarks.fake_tensors import fake_model
from benchmarks.scaled import architectures, scaled_down
from benchmarks.torch_memory import OPTIMIZERS, cuda_peak_bytes, foreach_adamw, peak_bytes, saved_bytes
from tinylm_cli.analysis.activations import activation_bytes
from tinylm_cli.analysis.attention_kernels import attention_backend
from tinylm_cli.analysis.setups import TrainingSetup
from tinylm_cli.analysis.training_memory import training_memory
from tinylm_cli.config.layer_kinds import layer_pattern
from tinylm_cli.config.loader import load_yaml_config
from tinylm_cli.config.presets import presets
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model import TinyTransformerLM
from tinylm_cli.reports.choices import Device, Optimizer, Recompute

PAGE = Path(__file__).resolve().parent.parent / "docs" / "accuracy.md"
LENGTH = 1024
"""Tokens in a sequence of a published model."""
SAVED_LIMIT, PEAK_LIMIT = 0.02, 0.05
RECURRENT_PEAK_LIMIT = 0.15
"""Of models with recurrences, the gradients inside whose backward pass are all counted as held at once."""
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


Key = tuple[str, str, str]
"""Figure, model and detail of a row."""
LINE = re.compile(r"^\| (saved|peak) \| ([^|]+) \| ([^|]+) \| [\d,]+ \| ([\d,]+) \|", re.MULTILINE)


def measured_before(text: str) -> dict[Key, int]:
    """Return the measured bytes of each row of a page."""
    return {(figure, model, detail): int(size.replace(",", "")) for figure, model, detail, size in LINE.findall(text)}


def largest_error(figure: str, model: str) -> float:
    """Return the bound of the error of a figure of a model, which may be scaled down."""
    if figure == "saved":
        return SAVED_LIMIT
    config = architectures().get(model.partition(",")[0])
    return PEAK_LIMIT if config is None or not _has_recurrence(config) else RECURRENT_PEAK_LIMIT


def _has_recurrence(config: ModelConfig) -> bool:
    """Return whether a layer of a model has a recurrence."""
    mixers = {mixer for kind in layer_pattern(config).kinds for mixer in kind.block.mixers}
    return not mixers <= {"attention", "short_conv"}


class Row(NamedTuple):
    """One figure, predicted and measured.

    Attributes:
        figure: ``saved`` or ``peak``.
        model: Name of the model, and changes to it.
        detail: Batch size, length, dtype and other conditions.
        predicted_bytes: The closed form.
        measured_bytes: The measurement of torch.
    """

    figure: str
    model: str
    detail: str
    predicted_bytes: int
    measured_bytes: int

    @property
    def error(self) -> float:
        """Relative error of the prediction."""
        return self.predicted_bytes / self.measured_bytes - 1

    @property
    def holds(self) -> bool:
        """Whether the error is within its bound."""
        return abs(self.error) <= largest_error(self.figure, self.model)


def built(config: ModelConfig, dtype: str, device: Device, *, fake: bool) -> AbstractContextManager[TinyTransformerLM]:
    """Return the model to measure: with real tensors, or with fake ones if it is too large to allocate."""
    if fake:
        return fake_model(config, DTYPES[dtype])
    return nullcontext(TinyTransformerLM.from_config(config, dtype=DTYPES[dtype], device=device))


def attention_of(config: ModelConfig, seq_len: int, device: Device) -> str:
    """Return how the layers compute attention: ``fused``, ``math/eager``, or both; ``no attention`` without any."""
    attending = [kind for kind in layer_pattern(config).kinds if "attention" in kind.block.mixers]
    banded = {(kind.attention.window or seq_len) < seq_len for kind in attending}
    drops = config.dropout > 0
    ways = {attention_backend(config, "sdpa", device=device, banded=each, dropout=drops) for each in banded}
    return " and ".join(sorted({"fused" if backend == "fused" else "math/eager" for backend in ways})) or "no attention"


def saved_row(
    model: str,
    config: ModelConfig,
    batch_size: int,
    seq_len: int,
    dtype: str,
    *,
    fake: bool = False,
    known: dict[Key, int] | None = None,
) -> Row:
    """Compare the bytes that autograd saves on the CPU, measured unless ``known`` has them."""
    found = activation_bytes(
        config,
        TrainingSetup(batch_size=batch_size, seq_len=seq_len, dtype=dtype, attention_kernel="sdpa", device="cpu"),
    )
    detail = f"{batch_size} × {seq_len}, {dtype}, {attention_of(config, seq_len, 'cpu')}"
    measured = (known or {}).get(("saved", model, detail))
    if measured is None:
        with built(config, dtype, "cpu", fake=fake) as made:
            measured = saved_bytes(made, batch_size, seq_len)
    return Row("saved", model, detail, found.saved_bytes, measured)


def peak_row(
    model: str,
    config: ModelConfig,
    batch_size: int,
    seq_len: int,
    dtype: str,
    *,
    optimizer: Optimizer = "adamw",
    recompute: Recompute = "none",
    device: Device = "cpu",
    fake: bool = False,
    foreach: bool = False,
    known: dict[Key, int] | None = None,
) -> Row:
    """Compare the peak of a training step, measured unless known; ``foreach`` selects that implementation of AdamW."""
    found = training_memory(
        config,
        TrainingSetup(
            batch_size=batch_size,
            seq_len=seq_len,
            dtype=dtype,
            optimizer=optimizer,
            master_weights=False,
            attention_kernel="sdpa",
            recompute=recompute,
            device=device,
        ),
    )
    predicted, phase = (found.foreach_peak_bytes, "optimizer step") if foreach else (found.peak_bytes, found.peak_phase)
    implementation = " by foreach" if foreach else ""
    again = ", full recompute" if recompute == "full" else ""
    where = ", cuda" if device == "cuda" else ""
    backend = attention_of(config, seq_len, device)
    detail = f"{batch_size} × {seq_len}, {dtype}, {backend}, {optimizer}{implementation}{again}{where}: {phase}"
    measured = (known or {}).get(("peak", model, detail))
    if measured is None:
        measure = cuda_peak_bytes if device == "cuda" else peak_bytes
        with built(config, dtype, device, fake=fake) as made:
            make_optimizer = foreach_adamw if foreach else OPTIMIZERS[optimizer]
            measured = measure(made, make_optimizer, batch_size, seq_len, recompute=recompute == "full")
    return Row("peak", model, detail, predicted, measured)


def rows(*, quick: bool = False, known: dict[Key, int] | None = None) -> Iterator[Row]:
    """Yield every comparison, or a few small ones if ``quick``; measurements in ``known`` are not repeated."""
    for compare in _comparisons(quick=quick):
        yield compare(known=known)


def _comparisons(*, quick: bool) -> Iterator[partial[Row]]:
    small = {name: load_yaml_config(name).config for name in (("tiny",) if quick else ("tiny", "small"))}
    published = architectures()
    # experts and recurrences take minutes with fake tensors
    dense = {
        name: config
        for name, config in published.items()
        if config.feed_forward.n_experts is None and not _has_recurrence(config)
    }
    scaled = {f"{name}, scaled down": scaled_down(config, width=128) for name, config in published.items()}
    chosen = {name: scaled[name] for name in list(scaled)[:2]} if quick else scaled
    for name, config in small.items():
        for dropout in (0.0, 0.1):
            changed = config.model_copy(update={"dropout": dropout})
            for dtype in DTYPES:
                yield partial(saved_row, f"{name}, dropout {dropout:g}", changed, 4, 128, dtype)
                yield partial(peak_row, f"{name}, dropout {dropout:g}", changed, 4, 128, dtype)
    for name, config in ({"pythia-160m": dense["pythia-160m"]} if quick else dense).items():
        length = min(config.max_len, LENGTH)
        yield partial(saved_row, name, config, 1, length, "bfloat16", fake=True)
        yield partial(peak_row, name, config, 1, length, "bfloat16", fake=True)
    for name, config in chosen.items():
        yield partial(saved_row, name, config, 4, 64, "float32")
        yield partial(saved_row, name, config, 4, 64, "bfloat16")
        yield partial(peak_row, name, config, 4, 64, "float32")
        yield partial(peak_row, name, config, 1, 16, "float32")
    for optimizer in OPTIMIZERS:
        yield partial(peak_row, "tiny", small["tiny"], 1, 32, "float32", optimizer=optimizer)
    for dtype in DTYPES:
        yield partial(peak_row, "tiny", small["tiny"], 1, 32, dtype, foreach=True)
    yield partial(peak_row, "tiny", small["tiny"], 4, 128, "float32", recompute="full")
    if torch.cuda.is_available():
        for name in presets():
            yield partial(peak_row, name, load_yaml_config(name).config, 4, 1024, "bfloat16", device="cuda")


def page(found: Sequence[Row]) -> str:
    """Return the text of docs/accuracy.md."""
    worst = {figure: max(abs(row.error) for row in found if row.figure == figure) for figure in ("saved", "peak")}
    exact = sum(row.predicted_bytes == row.measured_bytes for row in found if row.figure == "saved")
    saved = sum(row.figure == "saved" for row in found)
    bounds = f"{SAVED_LIMIT:.0%} and {PEAK_LIMIT:.0%}; {RECURRENT_PEAK_LIMIT:.0%}"
    on_cuda = any(", cuda" in row.detail for row in found)
    where = "CUDA beyond the presets" if on_cuda else "CUDA"
    head = f"""# Memory: predicted and measured

[`benchmarks/memory_accuracy.py`](../benchmarks/memory_accuracy.py) wrote this page with torch
{torch.__version__}, Python {platform.python_version()}, {_device()}. *Saved* is the size of the tensors that
autograd saves for the backward pass, counted by its hooks on the real module. *Peak* is the most memory that a training
step holds at once, the optimizer step included. torch's `MemTracker` measures it in the phase named in the row.
The smallest published model of each architecture is measured: without experts and recurrences at full size with fake
tensors, which torch runs as on the CPU without allocating memory, and scaled down to a width of 128 with real tensors.
Attention is the model's own (`sdpa`): a fused CPU kernel of torch if there is one (*fused*), otherwise separate matmuls
and softmax (*math/eager*). [costs.md](costs.md#memory) explains the predictions.

Not measured: {where} (the choice of attention kernels, masks of one byte, fused RMSNorm, single-kernel
optimizers), the `flash` kernel, which is a separate library, [plans](costs.md#plans) and quantized weights. Their
predictions follow the sources that costs.md cites. Tests compare inference memory with torch on the CPU, at small
sizes.

{exact} of {saved} figures of saved tensors are exact; the largest error is {worst["saved"]:.2%}. The largest error of
{len(found) - saved} peaks is {worst["peak"]:.2%}. The bounds are {bounds} for the peaks of models with
recurrences, such as Mamba: all gradients inside the backward pass of a recurrence are counted as held at once.

| figure | model | pass | predicted bytes | measured bytes | error |
| --- | --- | --- | ---: | ---: | ---: |
"""
    return head + "".join(f"{_line(row)}\n" for row in found)


def _line(row: Row) -> str:
    error = "exact" if row.predicted_bytes == row.measured_bytes else f"{row.error:+.2%}".replace("-", "−")
    cells = (row.figure, row.model, row.detail, f"{row.predicted_bytes:,}", f"{row.measured_bytes:,}", error)
    return f"| {' | '.join(cells)} |"


def _device() -> str:
    if not torch.cuda.is_available():
        return "on a CPU without a GPU"
    name: Any = torch.cuda.get_device_name()
    return f"on a CPU and on {name}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write the page, and return 1 if an error is out of its bound."""
    parser = argparse.ArgumentParser(prog="benchmarks/memory_accuracy.py", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few small models, for trying the script out")
    parser.add_argument("--keep", action="store_true", help="measure only what the page in docs does not have")
    parser.add_argument("--output", type=Path, default=PAGE, metavar="FILE", help="Markdown (default: %(default)s)")
    options = parser.parse_args(arguments)
    found = []
    known = measured_before(PAGE.read_text(encoding="utf-8")) if options.keep else {}
    for row in rows(quick=options.quick, known=known):
        print(f"{row.error:+8.2%}  {row.figure}  {row.model}: {row.detail}", file=sys.stderr)
        found.append(row)
    options.output.write_text(page(found), encoding="utf-8")
    return 0 if all(row.holds for row in found) else 1


if __name__ == "__main__":
    sys.exit(main())
