"""Everything that a model costs, put together from the modules that own each formula."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from tinylm_cli.analysis.attention_kernels import own_attention
from tinylm_cli.analysis.chinchilla import OPTIMAL_TOKENS_PER_PARAM, compute_optimum
from tinylm_cli.analysis.flops import analyze_flops, prefill_flops, train_flops
from tinylm_cli.analysis.inference_memory import PREFILL_TOKENS, Serving, inference_memory
from tinylm_cli.analysis.kv_cache import cache_shape
from tinylm_cli.analysis.parallel.job import KERNEL_EFFICIENCY, Job, Machine
from tinylm_cli.analysis.parallel.layouts import sequences_per_step
from tinylm_cli.analysis.parallel.plan import Plans, least_planned_bytes, plan, planned_bytes, plans
from tinylm_cli.analysis.params import active_params, total_params
from tinylm_cli.analysis.quantization import UNQUANTIZED, QuantizationConfig
from tinylm_cli.analysis.remedies import Need, inference_remedies, training_remedies
from tinylm_cli.analysis.roofline import (
    TYPICAL_UTILIZATION,
    peak_flops,
    serving_time,
    training_time,
)
from tinylm_cli.analysis.serving import decoding_step, default_batch_sizes, default_seq_lens, serving_grid
from tinylm_cli.analysis.tensor_table import tensor_table
from tinylm_cli.analysis.training_memory import training_memory
from tinylm_cli.config.hardware import Accelerator
from tinylm_cli.config.loader import LoadedConfig
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import AnalysisError
from tinylm_cli.reports.estimate import EstimateReport
from tinylm_cli.reports.flops import AttentionCount
from tinylm_cli.reports.memory import AttentionKernel, InferenceMemory, Optimizer, Recompute, TrainingMemory
from tinylm_cli.reports.memory_fit import Fit, Remedy
from tinylm_cli.reports.plan import Layout
from tinylm_cli.reports.time import ServingTime


class Request(NamedTuple):
    """What a model is to do, and on what.

    Attributes:
        batch_size: Sequences in one pass.
        seq_len: Tokens in each.
        dtype: Type of weights and activations.
        attention: Which pairs of a query and a key count as operations.
        kernel: How attention is computed.
        recompute: What the backward pass computes again.
        optimizer: What updates the weights.
        grad_dtype: Type that gradients are kept in; ``dtype`` when None.
        master_weights: Whether a float32 copy of the weights is updated; when None, in half precision.
        rounding: How weights are rounded when the model runs.
        cache_dtype: Type of the cache; ``dtype`` when None.
        prefill_tokens: The most tokens of a prompt that are read in one pass.
        serve_batch_sizes: Batches that serving is shown for; the usual ones when empty.
        serve_seq_lens: Lengths that it is shown for; the usual ones when empty.
        accelerator: The GPU, or None.
        accelerators: Others there are: larger ones are named where that one is too small.
        gpus: How many train the model.
        layout: How the work is divided among them; None for the quickest way there is.
        global_batch: Sequences that all of them read between updates; about 4M tokens when None.
        splits_batch: Whether the micro-batches of ``layout`` follow from that, whatever it says itself.
        kernel_efficiency: Share of the peak that each of several GPUs reaches while it computes.
        utilization: Share of the peak that training on one GPU reaches; on several it follows from the plan.
        usd_per_gpu_hour: What an hour of one costs, if known.
        budget_tokens: Tokens to train on; the compute-optimal number when None.
    """

    batch_size: int
    seq_len: int
    dtype: str = "bfloat16"
    attention: AttentionCount = "causal"
    kernel: AttentionKernel = "flash"
    recompute: Recompute = "none"
    optimizer: Optimizer = "adamw"
    grad_dtype: str | None = None
    master_weights: bool | None = None
    rounding: QuantizationConfig = UNQUANTIZED
    cache_dtype: str | None = None
    prefill_tokens: int = PREFILL_TOKENS
    serve_batch_sizes: tuple[int, ...] = ()
    serve_seq_lens: tuple[int, ...] = ()
    accelerator: Accelerator | None = None
    accelerators: tuple[Accelerator, ...] = ()
    gpus: int = 1
    layout: Layout | None = None
    global_batch: int | None = None
    splits_batch: bool = False
    kernel_efficiency: float = KERNEL_EFFICIENCY
    utilization: float = TYPICAL_UTILIZATION
    usd_per_gpu_hour: float | None = None
    budget_tokens: int | None = None

    @property
    def serving(self) -> Serving:
        """How the model is run."""
        return Serving(self.dtype, self.cache_dtype, self.rounding, self.kernel, prefill_tokens=self.prefill_tokens)


def estimate(loaded: LoadedConfig, asked: Request) -> EstimateReport:
    """Return what the model costs.

    Raises:
        AnalysisError: If a size is out of range, or the layout does not come out even.
        UsageError: If the hardware does not multiply the type.
    """
    config, table = loaded.config, tensor_table(loaded.config)
    active = active_params(table)
    budget = asked.budget_tokens or OPTIMAL_TOKENS_PER_PARAM * active
    found = _plans(config, asked)
    chosen = (found.fitting or (found.nearest,))[0] if found is not None else None
    training, inference = _training(config, asked), _inference(config, asked)
    needed = chosen.fullest.total_bytes if chosen is not None else training.peak_bytes
    accelerator = asked.accelerator
    return EstimateReport(
        name=loaded.name,
        source=loaded.source,
        total_params=total_params(table),
        active_params=active,
        flops=analyze_flops(
            config,
            batch_size=asked.batch_size,
            seq_len=asked.seq_len,
            attention=asked.attention,
            recompute=asked.recompute,
        ),
        training=training,
        inference=inference,
        own_attention=own_attention(config, seq_len=asked.seq_len),
        cache=cache_shape(config, asked.serving.kept_dtype),
        serving=serving_grid(
            config,
            asked.serving,
            batch_sizes=asked.serve_batch_sizes or default_batch_sizes(asked.batch_size),
            seq_lens=asked.serve_seq_lens or default_seq_lens(config.max_len, asked.seq_len),
            accelerator=accelerator,
        ),
        accelerator=accelerator.name if accelerator is not None else None,
        capacity_bytes=accelerator.capacity_bytes if accelerator is not None else None,
        training_fit=_fit(asked, needed, training_remedies, partial(training_need, config)),
        inference_fit=_fit(asked, inference.total_bytes, inference_remedies, partial(inference_need, config)),
        plan=chosen,
        layouts_tried=found.tried if found is not None and asked.layout is None else None,
        alternatives=found.fitting if found is not None and asked.layout is None else (),
        training_time=None
        if accelerator is None
        else training_time(
            accelerator,
            n_gpus=asked.gpus,
            dtype=asked.dtype,
            train_flops_per_token=round(
                train_flops(config, batch_size=1, seq_len=asked.seq_len, attention=asked.attention) / asked.seq_len
            ),
            budget_tokens=budget,
            utilization=chosen.utilization if chosen is not None and chosen.utilization else asked.utilization,
            usd_per_gpu_hour=asked.usd_per_gpu_hour,
        ),
        optimum=compute_optimum(active, budget),
        budget_is_given=asked.budget_tokens is not None,
        serving_time=_serving_time(config, asked, accelerator) if accelerator is not None else None,
    )


def _training(config: ModelConfig, asked: Request) -> TrainingMemory:
    return training_memory(
        config,
        batch_size=asked.batch_size,
        seq_len=asked.seq_len,
        dtype=asked.dtype,
        optimizer=asked.optimizer,
        grad_dtype=asked.grad_dtype,
        master_weights=asked.master_weights,
        attention_kernel=asked.kernel,
        recompute=asked.recompute,
    )


def _inference(config: ModelConfig, asked: Request) -> InferenceMemory:
    return inference_memory(config, asked.serving, batch_size=asked.batch_size, seq_len=asked.seq_len)


def _plans(config: ModelConfig, asked: Request) -> Plans | None:
    """Return the plan that was asked for, or every one there is; None for a single GPU."""
    if asked.gpus == 1:
        return None
    job, machine = _job(config, asked), _machine(asked)
    if asked.layout is not None:
        named = plan(job, _named(job, asked.layout, asked), machine)
        return Plans((named,) if named.fits else (), named, 1)
    assert machine is not None, "which layout is quickest depends on the GPU"
    return plans(job, asked.gpus, machine, asked.global_batch)


def training_need(config: ModelConfig, asked: Request) -> int:
    """Return what the fullest GPU holds to train as asked; where no layout is named, in the one that holds least.

    Raises:
        AnalysisError: If a size is out of range, or the global batch does not come out even.
    """
    if asked.gpus == 1:
        return _training(config, asked).peak_bytes
    job = _job(config, asked)
    if asked.layout is not None:
        return planned_bytes(job, _named(job, asked.layout, asked))
    assert asked.accelerator is not None, "which layouts there are depends on the GPU"
    return least_planned_bytes(job, asked.gpus, asked.accelerator.gpus_per_node, asked.global_batch)


def _named(job: Job, layout: Layout, asked: Request) -> Layout:
    """Return the layout that was asked for, with as many micro-batches as the global batch has."""
    if not asked.splits_batch:
        return layout
    sequences = asked.global_batch or sequences_per_step(job, layout.gpus)
    micro_batches, left = divmod(sequences, layout.data * job.batch_size)
    if left:
        message = f"{sequences:,} sequences are no multiple of {layout.data} replicas × {job.batch_size} sequences"
        raise AnalysisError(message, help="give another global batch")
    return replace(layout, micro_batches=micro_batches)


def inference_need(config: ModelConfig, asked: Request) -> int:
    """Return what one GPU holds while the model runs as it is asked to."""
    return _inference(config, asked).total_bytes


def _fit(asked: Request, needed: int, remedies: Callable[[Request, Need], Iterable[Remedy]], need: Need) -> Fit | None:
    """Return how what is needed stands to the memory of the GPU, and what would make it fit; None without one."""
    if asked.accelerator is None:
        return None
    capacity = asked.accelerator.capacity_bytes
    fits = needed <= capacity
    return Fit(needed, capacity, fits, () if fits else tuple(remedies(asked, need)))


def _job(config: ModelConfig, asked: Request) -> Job:
    return Job(
        config,
        asked.batch_size,
        asked.seq_len,
        asked.dtype,
        asked.optimizer,
        asked.recompute,
        asked.grad_dtype,
        asked.master_weights,
        asked.kernel,
    )


def _machine(asked: Request) -> Machine | None:
    accelerator = asked.accelerator
    if accelerator is None:
        return None
    return Machine(
        accelerator.capacity_bytes,
        peak_flops(accelerator, asked.dtype),
        asked.kernel_efficiency,
        accelerator.link_bytes_per_second,
        accelerator.one_peer_bytes_per_second,
        accelerator.network_bytes_per_second,
        accelerator.gpus_per_node,
    )


def _serving_time(config: ModelConfig, asked: Request, accelerator: Accelerator) -> ServingTime:
    step = decoding_step(config, asked.serving, seq_len=asked.seq_len)
    return serving_time(
        accelerator,
        dtype=asked.dtype,
        batch_size=asked.batch_size,
        prompt_tokens=asked.seq_len,
        prefill_flops=prefill_flops(
            config, batch_size=asked.batch_size, seq_len=asked.seq_len, attention=asked.attention
        ),
        piece_tokens=asked.prefill_tokens,
        prefill_cache_bytes=asked.batch_size * step.cache_bytes_per_sequence,
        context_tokens=asked.seq_len,
        step=step,
    )
