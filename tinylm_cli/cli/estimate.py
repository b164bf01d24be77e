"""``tinylm estimate``: what a model costs before any of it is spent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tinylm_cli.cli.error_collector import ErrorCollector
from tinylm_cli.cli.next_steps import design_words, model_words, next_step
from tinylm_cli.cli.options import (
    DEFAULT_CONFIG,
    OUTPUT_PANEL,
    ConfigOption,
    FormatOption,
    OutputOption,
    SetOption,
    TableOption,
)
from tinylm_cli.cli.output import CommandOutput, Format
from tinylm_cli.cli.serving_options import (
    CacheDtypeOption,
    GroupSizeOption,
    PrefillTokensOption,
    QuantizeHeadOption,
    QuantizeOption,
    ServeBatchOption,
    ServeLenOption,
    rounding,
    serve_batch_sizes,
    serve_seq_lens,
)
from tinylm_cli.cli.training_options import (
    AUTO,
    BudgetTokensOption,
    GlobalBatchOption,
    GpuOption,
    GpusOption,
    GradDtypeOption,
    HardwareOption,
    KernelEfficiencyOption,
    KernelOption,
    MasterWeightsOption,
    OptimizerOption,
    PlanOption,
    PriceOption,
    RecomputeOption,
    UtilizationOption,
    require_effect,
)
from tinylm_cli.cli.workload_options import (
    BatchSizeOption,
    SeqLenOption,
    Storage,
    StorageOption,
    fitting_length,
    read_amount,
    read_gpu,
)
from tinylm_cli.errors import UsageError
from tinylm_cli.reports.flops import AttentionCount

if TYPE_CHECKING:
    from tinylm_cli.config.loader import LoadedConfig
    from tinylm_cli.reports.plan import Layout


By = Literal["component", "layer"]


def estimate(
    config: ConfigOption = DEFAULT_CONFIG,
    batch_size: BatchSizeOption = 1,
    seq_len: SeqLenOption = None,
    by: Annotated[By, typer.Option(help="How operations are broken down.", rich_help_panel=OUTPUT_PANEL)] = "component",
    attention: Annotated[
        AttentionCount,
        typer.Option(
            help="Count the pairs a query may see, or the full square that a plain kernel computes.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = "causal",
    dtype: StorageOption = Storage.bfloat16,
    kernel: KernelOption = "flash",
    recompute: RecomputeOption = "none",
    optimizer: OptimizerOption = "adamw",
    grad_dtype: GradDtypeOption = None,
    master_weights: MasterWeightsOption = None,
    quantize: QuantizeOption = "none",
    group_size: GroupSizeOption = None,
    quantize_head: QuantizeHeadOption = False,
    cache_dtype: CacheDtypeOption = None,
    prefill_tokens: PrefillTokensOption = 8192,
    serve_batch: ServeBatchOption = None,
    serve_len: ServeLenOption = None,
    gpu: GpuOption = None,
    gpus: GpusOption = 1,
    plan: PlanOption = None,
    hardware: HardwareOption = None,
    budget_tokens: BudgetTokensOption = None,
    global_batch: GlobalBatchOption = None,
    kernel_efficiency: KernelEfficiencyOption = None,
    utilization: UtilizationOption = None,
    price: PriceOption = None,
    set_: SetOption = None,
    format_: FormatOption = Format.text,
    table: TableOption = None,
    output: OutputOption = None,
) -> CommandOutput:
    """Say whether a model fits a GPU; estimate FLOPs, KV cache and cost.

    Operations are those of matrix products, a multiplication and an addition counted as two. With --gpu, what does not
    fit in it is shown with the changes that make it fit.

    \b
    Examples:
      tinylm estimate llama-3-8b
      tinylm estimate base --gpu rtx-4090
      tinylm estimate qwen3-0.6b --quantize int4
      tinylm estimate llama-3-8b --gpu h100 --gpus 64
    """  # fmt: skip
    from tinylm_cli.analysis.estimate import estimate as estimated
    from tinylm_cli.analysis.setups import ServingSetup, Setups, TrainingSetup
    from tinylm_cli.cli.plan_option import require_shared, says_micro_batches
    from tinylm_cli.interop.load import load_config
    from tinylm_cli.render.views.estimate import estimate_view

    require_effect(
        gpu=gpu,
        gpus=gpus,
        plan=plan,
        hardware=hardware,
        price=price,
        utilization=utilization,
        kernel_efficiency=kernel_efficiency,
        global_batch=global_batch,
    )
    if master_weights is not None and dtype.value not in ("bfloat16", "float16"):
        word = "--master-weights" if master_weights else "--no-master-weights"
        raise UsageError(f"{word} is about weights in 16 bits", help=f"leave it out beside --dtype {dtype.value}")
    quantization = rounding(quantize, group_size, head=quantize_head)
    mistakes = ErrorCollector()
    loaded = mistakes.read(load_config, config, set_ or ())
    length = mistakes.read(fitting_length, loaded, seq_len) if loaded is not None else None
    layout = mistakes.read(_layout, loaded, length, plan=plan, gpus=gpus, gpu=gpu)
    if layout is not None and global_batch is not None:
        mistakes.read(require_shared, layout, plan, batch_size=batch_size, global_batch=global_batch)
    batches = mistakes.read(serve_batch_sizes, serve_batch)
    lengths = mistakes.read(serve_seq_lens, loaded, serve_len) if loaded is not None else None
    accelerator, accelerators = mistakes.read(read_gpu, gpu, hardware, dtype.value) or (None, ())
    tokens = (
        mistakes.read(read_amount, "--budget-tokens", budget_tokens, "count", "15B")
        if budget_tokens is not None
        else None
    )
    mistakes.settle()
    assert loaded is not None
    assert length is not None
    training = TrainingSetup(
        batch_size=batch_size,
        seq_len=length,
        dtype=dtype.value,
        attention_kernel=kernel,
        recompute=recompute,
        optimizer=optimizer,
        grad_dtype=grad_dtype.value if grad_dtype is not None else None,
        master_weights=master_weights,
        n_gpus=gpus,
        layout=layout,
        derives_micro_batches=plan is None or not says_micro_batches(plan),
        global_batch_size=global_batch,
        train_tokens=tokens,
        utilization=utilization or TrainingSetup().utilization,
        kernel_efficiency=kernel_efficiency or TrainingSetup().kernel_efficiency,
        usd_per_gpu_hour=price,
    )
    serving = ServingSetup(
        batch_size=batch_size,
        seq_len=length,
        dtype=dtype.value,
        cache_dtype=cache_dtype,
        quantization=quantization,
        attention_kernel=kernel,
        prefill_tokens=prefill_tokens,
        batch_sizes=batches or (),
        seq_lens=lengths or (),
    )
    setups = Setups(training, serving)
    report = estimated(loaded, setups, accelerator, accelerators=accelerators, attention=attention)
    named = design_words(loaded.config) if model_words(config, set_) else ""
    following = next_step("estimate", "design", named)
    every = format_ is Format.csv  # a program is given all layouts, as they are in JSON
    return CommandOutput(
        report, lambda: estimate_view(report, by, every=every), format_, output, next_step=following, table=table
    )


def _layout(
    loaded: LoadedConfig | None, seq_len: int | None, *, plan: str | None, gpus: int, gpu: str | None
) -> Layout | None:
    """Return the layout that is asked for: replicas that divide all they can where no plan is and no GPU is known."""
    if plan == AUTO or gpus == 1 or (plan is None and gpu is not None):
        return None
    from tinylm_cli.cli.plan_option import read_layout
    from tinylm_cli.reports.plan import Layout

    return Layout(data=gpus, zero=3) if plan is None else read_layout(plan, gpus, loaded, seq_len)
