"""The table of docs/costs.md that compares published runs with their plans is generated from the plans."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

from tinylm_cli.analysis.parallel.plan import plan
from tinylm_cli.analysis.setups import KERNEL_EFFICIENCY, TrainingSetup
from tinylm_cli.config.hardware import load_hardware
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.load import load_config
from tinylm_cli.render.views.plan import layout_text
from tinylm_cli.reports.choices import Recompute
from tinylm_cli.reports.plan import Layout, Plan

PAGE = Path(__file__).resolve().parents[2] / "docs" / "costs.md"

Measure = Literal["MFU", "s per step", "tokens/s per GPU"]


class Run(NamedTuple):
    """A run whose speed is published.

    Attributes:
        name: The model's name.
        gpu: The GPU.
        config: The model.
        setup: The training setup.
        layout: The parallel layout.
        published: The published speed.
        measure: The unit of ``published``.
    """

    name: str
    gpu: str
    config: ModelConfig
    setup: TrainingSetup
    layout: Layout
    published: float
    measure: Measure

    def at(self, kernel_efficiency: float) -> Plan:
        setup = self.setup._replace(kernel_efficiency=kernel_efficiency)
        return plan(self.config, setup, self.layout, load_hardware(self.gpu))

    def speed(self, found: Plan) -> float:
        """Return the plan's speed in the unit of the published speed."""
        assert found.step_seconds is not None
        assert found.utilization is not None
        if self.measure == "s per step":
            return found.step_seconds
        if self.measure == "MFU":
            return found.utilization
        return found.tokens_per_step / found.step_seconds / found.n_gpus

    @property
    def off(self) -> float:
        """Relative difference in speed: positive if the plan is faster than the run."""
        times = self.speed(self.at(KERNEL_EFFICIENCY)) / self.published
        return (1 / times if self.measure == "s per step" else times) - 1

    @property
    def needed_efficiency(self) -> float:
        """The kernel efficiency at which the plan is as fast as the run: a step takes compute / efficiency + rest."""
        one, half = (self.at(share).step_seconds for share in (1.0, 0.5))
        assert one is not None
        assert half is not None
        arithmetic, now = half - one, self.at(KERNEL_EFFICIENCY).step_seconds
        assert now is not None
        return arithmetic / (now * (1 + self.off) - (one - arithmetic))


def llama(*overrides: str) -> ModelConfig:
    return load_config("llama-3-8b", overrides).config


def gpt(
    layers: int, width: int, heads: int, batch_size: int = 1, recompute: Recompute = "selective"
) -> tuple[ModelConfig, TrainingSetup]:
    """Return a GPT of Korthikanti et al. 2022, table 3."""
    sizes = [f"n_layers={layers}", f"d_model={width}", f"n_heads={heads}", f"d_ff={4 * width}"]
    config = load_config("gpt2", [*sizes, "vocab_size=51200", "max_len=2048"]).config
    return config, TrainingSetup(batch_size, 2048, recompute=recompute, attention_kernel="math")


LARGEST = llama(
    "n_layers=126", "d_model=16384", "n_heads=128", "attention.n_kv_heads=8", "d_ff=53248", "max_len=131072"
)
LENGTH_8K, LENGTH_128K = TrainingSetup(1, 8192), TrainingSetup(1, 131_072)
RUNS = (
    Run("Llama 3 405B", "h100-sxm", LARGEST, LENGTH_8K, Layout(64, 8, 16, 1, 1, 1, 32, virtual=8), 0.43, "MFU"),
    Run("Llama 3 405B", "h100-sxm", LARGEST, LENGTH_8K, Layout(128, 8, 16, 1, 1, 1, 16, virtual=8), 0.41, "MFU"),
    Run("Llama 3 405B", "h100-sxm", LARGEST, LENGTH_128K, Layout(8, 8, 16, 16, 1, 1, 16, virtual=8), 0.38, "MFU"),
    Run("Llama 3 8B", "a100-80gb", llama(), TrainingSetup(1, 8192, recompute="selective"), Layout(64, zero=3), 2973,
        "tokens/s per GPU"),
    Run("GPT 22B", "a100-80gb", *gpt(48, 6144, 64, 4), Layout(1, 8), 1.10, "s per step"),
    Run("GPT 175B", "a100-80gb", *gpt(96, 12288, 96), Layout(1, 8, 8, micro_batches=64, virtual=3), 13.75,
        "s per step"),
    Run("GPT 530B", "a100-80gb", *gpt(105, 20480, 128), Layout(1, 8, 35, micro_batches=280, virtual=3), 37.83,
        "s per step"),
    Run("GPT 1T", "a100-80gb", *gpt(128, 25600, 160), Layout(1, 8, 64, micro_batches=512), 71.49, "s per step"),
)  # fmt: skip


def test_table_of_published_runs(golden: Callable[[Path, str], None]) -> None:
    head = (
        f"| run | GPUs | layout | published | plan at {KERNEL_EFFICIENCY:.0%} | plan vs. run | efficiency to match |",
        "| --- | ---: | --- | ---: | ---: | ---: | ---: |",
    )
    table = "\n".join([*head, *map(_line, RUNS)]) + "\n"
    page = PAGE.read_text(encoding="utf-8")
    example = re.compile(r"(?<=<!-- published -->\n\n).*?(?=\n\n)", re.DOTALL)
    assert len(example.findall(page)) == 1
    golden(PAGE, example.sub(lambda _: table.rstrip("\n"), page))


def test_default_global_batch() -> None:
    needed = [run.needed_efficiency for run in RUNS]
    largest = [run.needed_efficiency for run in RUNS if run.config is LARGEST]
    assert abs(sum(largest) / len(largest) - KERNEL_EFFICIENCY) < 0.02
    assert f"{min(needed):.0%} to {max(needed):.0%}" in _words()
    for run in RUNS:
        assert abs(run.speed(run.at(run.needed_efficiency)) / run.published - 1) < 1e-6


def test_scaling_over_nodes_as_measured() -> None:
    """torchtitan, Llama 3.1 8B with FSDP, two sequences a GPU: 6,667 tokens/s each on 8 GPUs, 6,514 on 128."""
    setup = TrainingSetup(2, 8192, recompute="selective")
    few, many = (Run("", "h100-sxm", llama(), setup, Layout(gpus, zero=3), 1, "tokens/s per GPU") for gpus in (8, 128))
    above = few.speed(few.at(KERNEL_EFFICIENCY)) / 6667 - 1
    assert f"the plan predicts {above:.0%} higher throughput" in _words()
    lost = 1 - many.speed(many.at(0.4)) / few.speed(few.at(0.4))
    measured = 1 - 6514 / 6667
    assert 0.4 * measured < lost < measured, "the run also loses time to effects that plans ignore"
    assert f"drops by {lost:.1%} in the plan and by {measured:.1%} as measured" in _words()


def _line(run: Run) -> str:
    at_default = run.speed(run.at(KERNEL_EFFICIENCY))
    name = f"{run.name}, {run.setup.seq_len:,} tokens"
    cells = (
        name,
        f"{run.layout.n_gpus:,} × {run.gpu}",
        layout_text(run.layout),
        _measured(run.published, run.measure),
        _measured(at_default, run.measure),
        f"{round(run.off, 2) + 0.0:+.0%}".replace("-", "−"),
        f"{run.needed_efficiency:.0%}",
    )
    return f"| {' | '.join(cells)} |"


def _measured(speed: float, measure: Measure) -> str:
    if measure == "MFU":
        return f"{speed:.0%} MFU"
    return f"{speed:,.0f} {measure}" if speed >= 100 else f"{speed:,.2f} {measure}"


def _words() -> str:
    return " ".join(PAGE.read_text(encoding="utf-8").split())
