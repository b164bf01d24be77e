"""What ``tinylm estimate`` reports."""

from __future__ import annotations

from dataclasses import dataclass

from tinylm_cli.reports.flops import ModelFlops
from tinylm_cli.reports.memory import InferenceMemory, OwnAttention, TrainingMemory
from tinylm_cli.reports.memory_fit import Fit
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
        inference: What it holds while the model runs.
        own_attention: What tinylm's own model keeps of attention beyond a flash kernel; None where nothing.
        cache: What kind of cache the model has.
        serving: What it holds, and how fast it decodes, by batch and length.
        accelerator: The named GPU; None without one.
        capacity_bytes: What tensors may take of its memory; None without one.
        training_fit: Whether training fits in the GPU, spread as ``plan`` says, at its peak where there is one GPU;
            None without a named one.
        inference_fit: Likewise for the model as it runs on one GPU.
        plan: Training spread over several GPUs; None for one. Where layouts are searched and none fits, the one that
            holds least.
        layouts_tried: How many layouts were searched; None where one is named, and for one GPU.
        alternatives: Of those, every one that fits, the quickest first, ``plan`` being the first.
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
    inference: InferenceMemory
    own_attention: OwnAttention | None
    cache: CacheShape
    serving: ServingGrid
    accelerator: str | None
    capacity_bytes: int | None
    training_fit: Fit | None
    inference_fit: Fit | None
    plan: Plan | None
    layouts_tried: int | None
    alternatives: tuple[Plan, ...]
    training_time: TrainingTime | None
    optimum: ComputeOptimum
    budget_is_given: bool
    serving_time: ServingTime | None
