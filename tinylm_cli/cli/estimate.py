"""``tinylm estimate``: what a model costs before any of it is spent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, get_args

import typer

from tinylm_cli.cli.conditions import (
    BatchSizeOption,
    SeqLenOption,
    Storage,
    StorageOption,
    fitting_length,
    read_amount,
    require_multiplied,
)
from tinylm_cli.cli.gathered import Gathered
from tinylm_cli.cli.options import (
    DEFAULT_CONFIG,
    ConfigOption,
    FormatOption,
    OutputOption,
    SetOption,
    TableOption,
    follow_up,
    number,
    same_model,
)
from tinylm_cli.cli.outcome import Format, Outcome
from tinylm_cli.cli.serve_options import (
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
from tinylm_cli.errors import UsageError
from tinylm_cli.reports.flops import AttentionCount
from tinylm_cli.reports.memory import AttentionKernel, Optimizer, Recompute

if TYPE_CHECKING:
    from tinylm_cli.config.hardware import Accelerator
    from tinylm_cli.config.loader import LoadedConfig
    from tinylm_cli.reports.plan import Layout


By = Literal["component", "layer"]
AUTO = "auto"


def estimate(
    config: ConfigOption = DEFAULT_CONFIG,
    batch_size: BatchSizeOption = 1,
    seq_len: SeqLenOption = None,
    by: Annotated[By, typer.Option(help="How operations are broken down.")] = "component",
    attention: Annotated[
        AttentionCount,
        typer.Option(help="Count the pairs a query may see, or the full square that a plain kernel computes."),
    ] = "causal",
    dtype: StorageOption = Storage.bfloat16,
    kernel: Annotated[
        AttentionKernel,
        typer.Option(
            "--attention-kernel",
            help="Attention as a flash kernel computes it, as torch does for tinylm's own model, or all written out.",
        ),
    ] = "flash",
    recompute: Annotated[
        Recompute, typer.Option(help="What the backward pass computes again: nothing, attention's scores, all layers.")
    ] = "none",
    optimizer: Annotated[
        Optimizer, typer.Option(metavar="NAME", help=f"What updates the weights: {', '.join(get_args(Optimizer))}.")
    ] = "adamw",
    grad_dtype: Annotated[
        Storage | None, typer.Option(metavar="NAME", help="What gradients are kept in; --dtype when absent.")
    ] = None,
    master_weights: Annotated[
        bool | None,
        typer.Option(
            "--master-weights/--no-master-weights", help="Update a float32 copy of the weights; in 16 bits when absent."
        ),
    ] = None,
    quantize: QuantizeOption = "none",
    group_size: GroupSizeOption = None,
    quantize_head: QuantizeHeadOption = False,
    cache_dtype: CacheDtypeOption = None,
    prefill_tokens: PrefillTokensOption = 8192,
    serve_batch: ServeBatchOption = None,
    serve_len: ServeLenOption = None,
    gpu: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The GPU, as tinylm list --hardware names it.", show_default=False),
    ] = None,
    gpus: Annotated[int, typer.Option(metavar="N", min=1, max=1_000_000, help="How many train the model.")] = 1,
    plan: Annotated[
        str | None,
        typer.Option(
            metavar="PLAN",
            help="How work is divided, e.g. tp=8,pp=2,zero=1; or auto, which ranks all that fit.",
            show_default=False,
        ),
    ] = None,
    hardware: Annotated[
        str | None, typer.Option(metavar="FILE", help="GPUs of your own, as YAML.", show_default=False)
    ] = None,
    budget_tokens: Annotated[
        str | None,
        typer.Option(metavar="COUNT", help="Tokens to train on; 20 a parameter when absent.", show_default=False),
    ] = None,
    global_batch: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            max=10**9,
            help="Sequences that all GPUs read between updates; about 4M tokens when absent.",
            show_default=False,
        ),
    ] = None,
    kernel_efficiency: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            parser=number("--kernel-efficiency", least=0.001, most=1, example="0.55"),
            help="Share of its peak that each of several GPUs reaches while it computes; 0.55 when absent.",
            show_default=False,
        ),
    ] = None,
    utilisation: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            parser=number("--utilisation", least=0.001, most=1, example="0.4"),
            help="Share of its peak that training on one GPU reaches; 0.4 when absent.",
            show_default=False,
        ),
    ] = None,
    price: Annotated[
        float | None,
        typer.Option(
            metavar="USD",
            parser=number("--price", least=0, most=1_000_000, example="2.50"),
            help="What a GPU costs an hour.",
            show_default=False,
        ),
    ] = None,
    set_: SetOption = None,
    format_: FormatOption = Format.text,
    table: TableOption = None,
    output: OutputOption = None,
) -> Outcome:
    """Work out what training and running a model takes, in closed form.

    Operations are those of matrix products, a multiplication and an addition counted as two. With --gpu, what does not
    fit in it is shown with the changes that make it fit.

    \b
    Examples:
      tinylm estimate --config llama-3-8b
      tinylm estimate --config base --gpu rtx-4090
      tinylm estimate --config qwen3-0.6b --quantize int4
      tinylm estimate --config llama-3-8b --gpu h100 --gpus 64
    """  # fmt: skip
    from tinylm_cli.analysis.estimate import Request
    from tinylm_cli.analysis.estimate import estimate as estimated
    from tinylm_cli.analysis.parallel.job import KERNEL_EFFICIENCY
    from tinylm_cli.analysis.roofline import TYPICAL_UTILISATION
    from tinylm_cli.cli.plan_option import require_shared, says_micro_batches
    from tinylm_cli.interop.load import load_config
    from tinylm_cli.render.views.estimate import estimate_view

    _require_effect(gpu=gpu, gpus=gpus, plan=plan, hardware=hardware, price=price)
    _require_part(gpu, gpus, utilisation=utilisation, kernel_efficiency=kernel_efficiency, global_batch=global_batch)
    if master_weights is not None and dtype.value not in ("bfloat16", "float16"):
        word = "--master-weights" if master_weights else "--no-master-weights"
        raise UsageError(f"{word} is about weights in 16 bits", help=f"leave it out beside --dtype {dtype.value}")
    rounded = rounding(quantize, group_size, head=quantize_head)
    mistakes = Gathered()
    loaded = mistakes.read(load_config, config, set_ or ())
    length = mistakes.read(fitting_length, loaded, seq_len) if loaded is not None else None
    layout = mistakes.read(_layout, loaded, length, plan=plan, gpus=gpus, gpu=gpu)
    if layout is not None and global_batch is not None:
        mistakes.read(require_shared, layout, plan, batch_size=batch_size, global_batch=global_batch)
    batches = mistakes.read(serve_batch_sizes, serve_batch)
    lengths = mistakes.read(serve_seq_lens, loaded, serve_len) if loaded is not None else None
    accelerator, accelerators = mistakes.read(_accelerators, gpu, hardware, dtype.value) or (None, ())
    tokens = (
        mistakes.read(read_amount, "--budget-tokens", budget_tokens, "count", "15B")
        if budget_tokens is not None
        else None
    )
    mistakes.settle()
    assert loaded is not None
    assert length is not None
    asked = Request(
        batch_size=batch_size,
        seq_len=length,
        dtype=dtype.value,
        attention=attention,
        kernel=kernel,
        recompute=recompute,
        optimizer=optimizer,
        grad_dtype=grad_dtype.value if grad_dtype is not None else None,
        master_weights=master_weights,
        rounding=rounded,
        cache_dtype=cache_dtype,
        prefill_tokens=prefill_tokens,
        serve_batch_sizes=batches or (),
        serve_seq_lens=lengths or (),
        accelerator=accelerator,
        accelerators=accelerators,
        gpus=gpus,
        layout=layout,
        global_batch=global_batch,
        splits_batch=plan is None or not says_micro_batches(plan),
        kernel_efficiency=kernel_efficiency or KERNEL_EFFICIENCY,
        utilisation=utilisation or TYPICAL_UTILISATION,
        usd_per_gpu_hour=price,
        budget_tokens=tokens,
    )
    report = estimated(loaded, asked)
    next_step = follow_up("params", same_model(config, set_))
    every = format_ is Format.csv  # a program is given all layouts, as they are in JSON
    return Outcome(
        report, lambda: estimate_view(report, by, every=every), format_, output, next_step=next_step, table=table
    )


def _require_effect(*, gpu: str | None, gpus: int, plan: str | None, hardware: str | None, price: float | None) -> None:
    """Refuse options that say nothing without another."""
    if gpu is None:
        for option, given in (("--hardware", hardware), ("--price", price)):
            if given is not None:
                raise UsageError(f"{option} is about a GPU", help="name it, for example with --gpu h100-sxm")
    if plan is not None and gpus == 1:
        raise UsageError("--plan divides work among GPUs", help="say how many, for example with --gpus 8")
    if plan == AUTO and gpu is None:
        raise UsageError("--plan auto ranks by time", help="name the GPU, for example with --gpu h100-sxm")


def _require_part(
    gpu: str | None,
    gpus: int,
    *,
    utilisation: float | None,
    kernel_efficiency: float | None,
    global_batch: int | None,
) -> None:
    """Refuse what one GPU is asked that only several have, and the other way round."""
    if gpu is None:
        for option, given in (("--utilisation", utilisation), ("--kernel-efficiency", kernel_efficiency)):
            if given is not None:
                raise UsageError(f"{option} is about a GPU", help="name it, for example with --gpu h100-sxm")
    if gpus > 1 and utilisation is not None:
        message = f"--utilisation is what comes out of a plan for {gpus} GPUs"
        raise UsageError(message, help="give --kernel-efficiency, what each of them reaches while it computes")
    if gpus == 1 and kernel_efficiency is not None:
        message = "--kernel-efficiency is for plans, which add traffic and waiting"
        raise UsageError(message, help="give --utilisation for one GPU, or say how many with --gpus")
    if gpus == 1 and global_batch is not None:
        raise UsageError("--global-batch is read by several GPUs", help="say how many, for example with --gpus 8")


def _accelerators(
    gpu: str | None, hardware: str | None, dtype: str
) -> tuple[Accelerator | None, tuple[Accelerator, ...]]:
    """Return the GPU that is named, and all there are."""
    if gpu is None:
        return None, ()
    from tinylm_cli.config.hardware import find_accelerator, load_accelerators

    table = load_accelerators(hardware)
    found = find_accelerator(table, gpu)
    require_multiplied(found, dtype, gpu)
    return found, tuple(table.values())


def _layout(
    loaded: LoadedConfig | None, seq_len: int | None, *, plan: str | None, gpus: int, gpu: str | None
) -> Layout | None:
    """Return the layout that is asked for: replicas that divide all they can where no plan is and no GPU is known."""
    if plan == AUTO or gpus == 1 or (plan is None and gpu is not None):
        return None
    from tinylm_cli.cli.plan_option import read_layout
    from tinylm_cli.reports.plan import Layout

    return Layout(data=gpus, zero=3) if plan is None else read_layout(plan, gpus, loaded, seq_len)
