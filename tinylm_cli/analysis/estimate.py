"""The estimate of a model: memory, plan, time and cost of training, memory and speed of serving."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from tinylm_cli.analysis.chinchilla import OPTIMAL_TOKENS_PER_PARAM, compute_optimum
from tinylm_cli.analysis.flops import analyze_flops, prefill_flops, train_flops
from tinylm_cli.analysis.inference_memory import inference_memory, largest_batch
from tinylm_cli.analysis.kv_cache import cache_shape
from tinylm_cli.analysis.parallel.layouts import with_micro_batches
from tinylm_cli.analysis.parallel.plan import (
    fastest_plan,
    n_searched_stages,
    plan,
    plan_bytes,
    plans,
    smallest_plan_bytes,
)
from tinylm_cli.analysis.params import active_params, total_params
from tinylm_cli.analysis.remedies import inference_remedies, training_remedies
from tinylm_cli.analysis.roofline import decode_step, serving_time, training_time
from tinylm_cli.analysis.sdpa_overhead import sdpa_overhead
from tinylm_cli.analysis.serving_table import serving_table
from tinylm_cli.analysis.setups import ServingSetup, Setups, TrainingSetup
from tinylm_cli.analysis.tensor_table import tensor_table
from tinylm_cli.analysis.training_memory import training_memory
from tinylm_cli.config.hardware import Accelerator
from tinylm_cli.config.loader import LoadedConfig
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import AnalysisError
from tinylm_cli.reports.choices import AttentionCount, Purpose
from tinylm_cli.reports.estimate import (
    EstimateReport,
    EstimateSummary,
    ServingEstimate,
    ServingSummary,
    TrainingEstimate,
    TrainingSummary,
)
from tinylm_cli.reports.memory_fit import Fit, Remedy

REMEDY_STAGES = 20_000
"""Maximum number of pipeline stages whose memory is computed in the search for remedies: about a second."""


def estimate(
    loaded: LoadedConfig,
    setups: Setups,
    accelerator: Accelerator | None = None,
    *,
    purpose: Purpose | None = None,
    accelerators: Sequence[Accelerator] = (),
    attention: AttentionCount = "causal",
    brief: bool = False,
) -> EstimateReport:
    """Estimate the memory, time and cost of training and serving a model.

    Args:
        loaded: The model.
        setups: How it is trained and served.
        accelerator: The GPU, or None.
        purpose: Training or serving; both when None.
        accelerators: GPUs that a remedy may suggest if ``accelerator`` is too small.
        attention: Query-key pairs that count as FLOPs.
        brief: Whether to omit remedies, all layouts but the fastest, and all batch sizes and lengths of serving but the
            setup's own.

    Raises:
        AnalysisError: If a size is out of range, or the layout does not divide the model evenly.
        UsageError: If the GPU does not support matmuls in the dtype.
    """
    config, table = loaded.config, tensor_table(loaded.config)
    setup = setups.training._replace(seq_len=setups.training.length(config))
    served = setups.serving.resolved(config)._replace(seq_len=setups.serving.length(config))
    training = serving = None
    if purpose != "serving":
        training = _training(config, setup, accelerator, accelerators, attention, brief=brief)
    if purpose != "training":
        serving = _serving(config, served, accelerator, accelerators, attention, brief=brief)
    return EstimateReport(
        name=loaded.name,
        source=loaded.source,
        total_params=total_params(table),
        active_params=active_params(table),
        accelerator=accelerator.name if accelerator is not None else None,
        capacity_bytes=accelerator.capacity_bytes if accelerator is not None else None,
        summary=EstimateSummary(
            None if training is None else _summarize_training(training, setup),
            None if serving is None else _summarize_serving(config, served, serving, accelerator),
        ),
        flops=analyze_flops(config, setup, attention=attention),
        training=training,
        serving=serving,
        unread_storage=loaded.unread_storage,
        ignored_keys=loaded.ignored_keys,
    )


def _training(
    config: ModelConfig,
    setup: TrainingSetup,
    accelerator: Accelerator | None,
    accelerators: Sequence[Accelerator],
    attention: AttentionCount,
    *,
    brief: bool,
) -> TrainingEstimate:
    seq_len, active = setup.length(config), active_params(tensor_table(config))
    tokens = setup.train_tokens or OPTIMAL_TOKENS_PER_PARAM * active
    searched = None
    if setup.n_gpus == 1:
        chosen = None
    elif setup.layout is not None:
        chosen = plan(config, setup, with_micro_batches(config, setup, setup.layout), accelerator)
    else:
        assert accelerator is not None, "the search for a layout needs a GPU"
        searched = None if brief else plans(config, setup, accelerator)
        chosen = fastest_plan(config, setup, accelerator) if searched is None else searched.best
    memory = training_memory(config, setup)
    needed = chosen.peak_stage.total_bytes if chosen is not None else memory.peak_bytes
    fit = time = None
    if accelerator is not None:
        fits = needed <= accelerator.capacity_bytes
        remedies = () if fits or brief else _training_remedies(config, setup, accelerator, accelerators)
        fit = Fit(needed, accelerator.capacity_bytes, fits, remedies)
        run = setup._replace(train_tokens=tokens)
        if chosen is not None and chosen.utilization:
            run = run._replace(utilization=chosen.utilization)
        flops = train_flops(config, batch_size=1, seq_len=seq_len, attention=attention, lora=setup.lora)
        time = training_time(accelerator, run, train_flops_per_token=round(flops / seq_len))
    return TrainingEstimate(
        memory=memory,
        sdpa_overhead=sdpa_overhead(config, seq_len=seq_len),
        fit=fit,
        plan=chosen,
        layouts_tried=searched.tried if searched is not None else None,
        layouts_fitting=searched.n_fitting if searched is not None else None,
        alternatives=searched.fitting if searched is not None else (),
        time=time,
        optimum=compute_optimum(active, tokens),
        tokens_are_given=setup.train_tokens is not None,
    )


def _training_remedies(
    config: ModelConfig, setup: TrainingSetup, accelerator: Accelerator, accelerators: Sequence[Accelerator]
) -> tuple[Remedy, ...]:
    searches = REMEDY_STAGES // n_searched_stages(config, setup, accelerator.gpus_per_node)
    return tuple(
        training_remedies(
            setup,
            accelerator,
            partial(required_training_bytes, config),
            accelerators,
            partial(_selected_plan_bytes, config),
            searches,
        )
    )


def _serving(
    config: ModelConfig,
    setup: ServingSetup,
    accelerator: Accelerator | None,
    accelerators: Sequence[Accelerator],
    attention: AttentionCount,
    *,
    brief: bool,
) -> ServingEstimate:
    memory, seq_len = inference_memory(config, setup), setup.length(config)
    table_setup = setup._replace(batch_sizes=(setup.batch_size,), seq_lens=(seq_len,)) if brief else setup
    fit = time = None
    if accelerator is not None:
        needed, capacity = memory.total_bytes, accelerator.capacity_bytes
        remedies = inference_remedies(setup, accelerator, partial(required_serving_bytes, config), accelerators)
        fit = Fit(needed, capacity, needed <= capacity, () if needed <= capacity or brief else tuple(remedies))
        time = serving_time(
            accelerator,
            setup,
            decode_step(config, setup),
            prompt_tokens=seq_len,
            prefill_flops=prefill_flops(config, batch_size=setup.batch_size, seq_len=seq_len, attention=attention),
            prefill_cache_bytes=memory.cache_bytes,
            context_tokens=seq_len,
            decodes=config.has_lm_head,
        )
    return ServingEstimate(
        memory=memory,
        fit=fit,
        cache=cache_shape(config, setup.kv_cache_dtype) if config.has_lm_head else None,
        grid=serving_table(config, table_setup, accelerator),
        time=time,
    )


def _summarize_training(estimate: TrainingEstimate, setup: TrainingSetup) -> TrainingSummary:
    plan, fit, time = estimate.plan, estimate.fit, estimate.time
    tokens = plan.tokens_per_step if plan is not None else estimate.memory.batch_size * estimate.memory.seq_len
    return TrainingSummary(
        fits=None if fit is None else fit.fits,
        needed_bytes=plan.peak_stage.total_bytes if plan is not None else estimate.memory.peak_bytes,
        capacity_bytes=None if fit is None else fit.capacity_bytes,
        spare_bytes=None if fit is None else fit.capacity_bytes - fit.needed_bytes,
        n_gpus=setup.n_gpus,
        plan=None if plan is None else plan.layout.spec,
        tokens_per_step=tokens,
        step_seconds=None if time is None else tokens / time.tokens_per_second,
        utilization=None if time is None else time.utilization,
        train_tokens=estimate.optimum.train_tokens,
        seconds=None if time is None else time.seconds,
        gpu_hours=None if time is None else time.gpu_hours,
        usd=None if time is None else time.usd,
    )


def _summarize_serving(
    config: ModelConfig, setup: ServingSetup, estimate: ServingEstimate, accelerator: Accelerator | None
) -> ServingSummary:
    fit, memory, time = estimate.fit, estimate.memory, estimate.time
    largest = None
    if accelerator is not None:
        largest = largest_batch(config, setup, available_bytes=accelerator.capacity_bytes)
    return ServingSummary(
        fits=None if fit is None else fit.fits,
        needed_bytes=memory.total_bytes,
        capacity_bytes=None if fit is None else fit.capacity_bytes,
        spare_bytes=None if fit is None else fit.capacity_bytes - fit.needed_bytes,
        batch_size=memory.batch_size,
        seq_len=memory.seq_len,
        weights_bytes=memory.weights_bytes,
        weights_dtype=memory.dtype if memory.quantization == "none" else memory.quantization,
        weights_are_stored=config.storage.is_stated
        and setup.quantization is None
        and setup.dtype == config.storage.dtype,
        kv_cache_bytes_per_token=0 if estimate.cache is None else estimate.cache.token_bytes,
        state_bytes_per_sequence=0 if estimate.cache is None else estimate.cache.state_bytes,
        kv_cache_bytes=memory.cache_bytes,
        largest_batch_size=largest,
        decode_tokens_per_second=None if time is None else time.decode_tokens_per_second,
    )


def required_training_bytes(config: ModelConfig, setup: TrainingSetup, accelerator: Accelerator) -> int:
    """Return the peak memory per GPU of training; without a layout, the memory of the smallest plan.

    Raises:
        AnalysisError: If a size is out of range, or no layout divides the global batch evenly.
    """
    if setup.n_gpus == 1:
        return training_memory(config, setup).peak_bytes
    if setup.lora is not None:
        raise AnalysisError("plans describe no frozen weights", help="train adapters on one GPU")
    if setup.layout is not None:
        return plan_bytes(config, setup, setup.layout)
    return smallest_plan_bytes(config, setup, accelerator.gpus_per_node)


def _selected_plan_bytes(config: ModelConfig, setup: TrainingSetup, accelerator: Accelerator) -> int:
    """Return the peak memory per GPU for an estimate: without a layout, the peak of the fastest plan that fits.

    Raises:
        AnalysisError: As :func:`required_training_bytes`.
    """
    if setup.n_gpus == 1 or setup.layout is not None:
        return required_training_bytes(config, setup, accelerator)
    return fastest_plan(config, setup, accelerator).peak_stage.total_bytes


def required_serving_bytes(config: ModelConfig, setup: ServingSetup, _: Accelerator) -> int:
    """Return the memory to serve on one GPU."""
    return inference_memory(config, setup).total_bytes
