"""Everything that a model costs, put together from the modules that own each formula."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial

from tinylm_cli.analysis.attention_kernels import own_attention
from tinylm_cli.analysis.chinchilla import OPTIMAL_TOKENS_PER_PARAM, compute_optimum
from tinylm_cli.analysis.flops import analyze_flops, prefill_flops, train_flops
from tinylm_cli.analysis.inference_memory import cache_bytes, inference_memory
from tinylm_cli.analysis.kv_cache import cache_shape
from tinylm_cli.analysis.parallel.layouts import global_batch_size
from tinylm_cli.analysis.parallel.plan import Plans, least_planned_bytes, plan, planned_bytes, plans
from tinylm_cli.analysis.params import active_params, total_params
from tinylm_cli.analysis.remedies import inference_remedies, training_remedies
from tinylm_cli.analysis.roofline import serving_time, training_time
from tinylm_cli.analysis.serving import decoding_step, serving_grid
from tinylm_cli.analysis.setups import ServingSetup, Setups, TrainingSetup
from tinylm_cli.analysis.tensor_table import tensor_table
from tinylm_cli.analysis.training_memory import training_memory
from tinylm_cli.config.hardware import Accelerator
from tinylm_cli.config.loader import LoadedConfig
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import AnalysisError
from tinylm_cli.reports.estimate import EstimateReport
from tinylm_cli.reports.flops import AttentionCount
from tinylm_cli.reports.memory_fit import Fit, Remedy
from tinylm_cli.reports.plan import Layout, Plan
from tinylm_cli.reports.time import ServingTime, TrainingTime


def estimate(
    loaded: LoadedConfig,
    setups: Setups,
    accelerator: Accelerator | None = None,
    *,
    accelerators: Sequence[Accelerator] = (),
    attention: AttentionCount = "causal",
) -> EstimateReport:
    """Return what the model costs.

    Args:
        loaded: The model.
        setups: How it is trained and served.
        accelerator: The GPU, or None.
        accelerators: Other GPUs: larger ones are named where that one is too small.
        attention: Which pairs of a query and a key count as operations.

    Raises:
        AnalysisError: If a size is out of range, or the layout does not come out even.
        UsageError: If the hardware does not multiply the type.
    """
    config, table = loaded.config, tensor_table(loaded.config)
    training = setups.training._replace(seq_len=setups.training.length(config))
    serving = setups.serving._replace(seq_len=setups.serving.length(config))
    active = active_params(table)
    tokens = training.train_tokens or OPTIMAL_TOKENS_PER_PARAM * active
    found = _plans(config, training, accelerator)
    chosen = (found.fitting or (found.nearest,))[0] if found is not None else None
    train, inference = training_memory(config, training), inference_memory(config, serving)
    needed = chosen.fullest.total_bytes if chosen is not None else train.peak_bytes
    searched = found is not None and training.layout is None
    training_fit = inference_fit = None
    if accelerator is not None:
        remedies = partial(training_remedies, training, accelerator, partial(training_need, config), accelerators)
        training_fit = _fit(needed, accelerator, remedies)
        remedies = partial(inference_remedies, serving, accelerator, partial(inference_need, config), accelerators)
        inference_fit = _fit(inference.total_bytes, accelerator, remedies)
    return EstimateReport(
        name=loaded.name,
        source=loaded.source,
        total_params=total_params(table),
        active_params=active,
        flops=analyze_flops(
            config,
            batch_size=training.batch_size,
            seq_len=training.length(config),
            attention=attention,
            recompute=training.recompute,
        ),
        training=train,
        inference=inference,
        own_attention=own_attention(config, seq_len=training.length(config)),
        cache=cache_shape(config, serving.kv_cache_dtype),
        serving=serving_grid(config, serving, accelerator),
        accelerator=accelerator.name if accelerator is not None else None,
        capacity_bytes=accelerator.capacity_bytes if accelerator is not None else None,
        training_fit=training_fit,
        inference_fit=inference_fit,
        plan=chosen,
        layouts_tried=found.tried if found is not None and searched else None,
        alternatives=found.fitting if found is not None and searched else (),
        training_time=None
        if accelerator is None
        else _training_time(config, training._replace(train_tokens=tokens), accelerator, chosen, attention),
        optimum=compute_optimum(active, tokens),
        budget_is_given=training.train_tokens is not None,
        serving_time=None if accelerator is None else _serving_time(config, serving, accelerator, attention),
    )


def _plans(config: ModelConfig, setup: TrainingSetup, accelerator: Accelerator | None) -> Plans | None:
    """Return the plan of the setup's layout, or every one there is; None for a single GPU."""
    if setup.n_gpus == 1:
        return None
    if setup.layout is not None:
        named = plan(config, setup, with_micro_batches(config, setup, setup.layout), accelerator)
        return Plans((named,) if named.fits else (), named, 1)
    assert accelerator is not None, "which layout is quickest depends on the GPU"
    return plans(config, setup, accelerator)


def training_need(config: ModelConfig, setup: TrainingSetup, accelerator: Accelerator) -> int:
    """Return what the fullest GPU holds while training; where no layout is named, in the one that holds least.

    Raises:
        AnalysisError: If a size is out of range, or the global batch does not come out even.
    """
    if setup.n_gpus == 1:
        return training_memory(config, setup).peak_bytes
    if setup.layout is not None:
        return planned_bytes(config, setup, with_micro_batches(config, setup, setup.layout))
    return least_planned_bytes(config, setup, accelerator.gpus_per_node)


def with_micro_batches(config: ModelConfig, setup: TrainingSetup, layout: Layout) -> Layout:
    """Return a layout with as many micro-batches as the global batch has."""
    if not setup.derives_micro_batches:
        return layout
    sequences = global_batch_size(config, setup)
    micro_batches, left = divmod(sequences, layout.data * setup.batch_size)
    if left:
        message = f"{sequences:,} sequences are no multiple of {layout.data} replicas × {setup.batch_size} sequences"
        raise AnalysisError(message, help="give another global batch")
    return replace(layout, micro_batches=micro_batches)


def inference_need(config: ModelConfig, setup: ServingSetup, _: Accelerator) -> int:
    """Return what one GPU holds while it serves the model."""
    return inference_memory(config, setup).total_bytes


def _fit(needed: int, accelerator: Accelerator, remedies: Callable[[], Iterable[Remedy]]) -> Fit:
    """Return how the bytes needed compare to the memory of the GPU, and what would make them fit."""
    capacity = accelerator.capacity_bytes
    fits = needed <= capacity
    return Fit(needed, capacity, fits, () if fits else tuple(remedies()))


def _training_time(
    config: ModelConfig, setup: TrainingSetup, accelerator: Accelerator, chosen: Plan | None, attention: AttentionCount
) -> TrainingTime:
    """Return the time of a training run, at the plan's utilization where there is one."""
    seq_len = setup.length(config)
    flops = train_flops(config, batch_size=1, seq_len=seq_len, attention=attention)
    if chosen is not None and chosen.utilization:
        setup = setup._replace(utilization=chosen.utilization)
    return training_time(accelerator, setup, train_flops_per_token=round(flops / seq_len))


def _serving_time(
    config: ModelConfig, setup: ServingSetup, accelerator: Accelerator, attention: AttentionCount
) -> ServingTime:
    """Return the time of reading prompts of the setup's length, and of decoding after them."""
    seq_len = setup.length(config)
    return serving_time(
        accelerator,
        setup,
        decoding_step(config, setup),
        prompt_tokens=seq_len,
        prefill_flops=prefill_flops(config, batch_size=setup.batch_size, seq_len=seq_len, attention=attention),
        prefill_cache_bytes=cache_bytes(config, setup),
        context_tokens=seq_len,
    )
