"""What ``tinylm estimate`` reports."""

from __future__ import annotations

from dataclasses import dataclass

from tinylm_cli.reports.flops import ModelFlops
from tinylm_cli.reports.memory import InferenceMemory, ModuleKernel, TrainingMemory
from tinylm_cli.reports.plan import Plan
from tinylm_cli.reports.serving import CacheShape, ServingGrid
from tinylm_cli.reports.time import ComputeOptimum, ServingTime, TrainingTime


@dataclass(frozen=True)
class EstimateReport:
    """What a model costs, before any of it is spent.

    Attributes:
        name: The preset's name or the file's stem.
        source: Preset name, path as given, or ``<stdin>``.
        total_params: Each stored tensor counted once.
        active_params: What one token uses: of experts, those it is sent to.
        flops: What a pass and a training step compute.
        training: What one GPU that holds the whole model holds while it trains.
        module_kernels: How tinylm's own model computes attention, which may differ from what is assumed.
        inference: What it holds while the model runs.
        cache: What kind of cache the model has.
        serving: What it holds, and how fast it decodes, by batch and length.
        accelerator: The named GPU; None without one.
        capacity_bytes: Its memory, as far as programs find it; None without one.
        plan: Training spread over several GPUs; None for one.
        alternatives: With ``--plan auto``, every layout that fits, the quickest first, ``plan`` being the first.
        training_time: How long the budget of tokens takes on the named GPUs; None without them.
        optimum: The budget of tokens beside the one that spends its compute best.
        budget_is_given: Whether the budget of tokens was asked for; else it is the compute-optimal one.
        serving_time: The least time of reading prompts and of decoding on one of them; None without them.
    """

    name: str
    source: str
    total_params: int
    active_params: int
    flops: ModelFlops
    training: TrainingMemory
    module_kernels: tuple[ModuleKernel, ...]
    inference: InferenceMemory
    cache: CacheShape
    serving: ServingGrid
    accelerator: str | None
    capacity_bytes: int | None
    plan: Plan | None
    alternatives: tuple[Plan, ...]
    training_time: TrainingTime | None
    optimum: ComputeOptimum
    budget_is_given: bool
    serving_time: ServingTime | None
