"""``tinylm estimate``: what a model costs before any of it is spent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, get_args

import typer

from tinylm_cli.cli.conditions import BatchSizeOption, SeqLenOption, Storage, StorageOption, fitting_length
from tinylm_cli.cli.options import (
    DEFAULT_CONFIG,
    ConfigOption,
    FormatOption,
    OutputOption,
    SetOption,
    follow_up,
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
    from tinylm_cli.analysis.estimate import Request
    from tinylm_cli.config.loader import LoadedConfig
    from tinylm_cli.reports.plan import Layout


By = Literal["component", "layer"]
AUTO = "auto"


def _tokens(written: str) -> int:
    from tinylm_cli.config.amounts import parse_amount

    try:
        return parse_amount(written, "count")
    except ValueError as error:
        raise UsageError(f"--budget-tokens {written}: {error}", help="for example 15B or 1.4T") from error


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
        AttentionKernel, typer.Option("--attention-kernel", help="Whether attention's scores are written out.")
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
    utilisation: Annotated[
        float, typer.Option(metavar="SHARE", min=0.001, max=1, help="Share of the GPU's peak that training reaches.")
    ] = 0.4,
    price: Annotated[
        float | None, typer.Option(metavar="USD", min=0, help="What a GPU costs an hour.", show_default=False)
    ] = None,
    set_: SetOption = None,
    format_: FormatOption = Format.text,
    output: OutputOption = None,
) -> Outcome:
    """Work out what training and running a model takes, in closed form.

    Operations are those of matrix products, a multiplication and an addition counted as two.

    \b
    Examples:
      tinylm estimate --config llama-3-8b
      tinylm estimate --config base --gpu rtx-4090
      tinylm estimate --config qwen3-0.6b --quantize int4
      tinylm estimate --config llama-3-8b --gpu h100 --gpus 64
    """  # fmt: skip
    from tinylm_cli.analysis.estimate import Request
    from tinylm_cli.analysis.estimate import estimate as estimated
    from tinylm_cli.config.hardware import load_hardware
    from tinylm_cli.interop.load import load_config
    from tinylm_cli.render.views.estimate import estimate_view

    _require_effect(gpu=gpu, gpus=gpus, plan=plan, hardware=hardware, price=price)
    if master_weights is not None and dtype.value not in ("bfloat16", "float16"):
        word = "--master-weights" if master_weights else "--no-master-weights"
        raise UsageError(f"{word} is about weights in 16 bits", help=f"leave it out beside --dtype {dtype.value}")
    loaded = load_config(config, set_ or ())
    asked = Request(
        batch_size=batch_size,
        seq_len=fitting_length(loaded, seq_len),
        dtype=dtype.value,
        attention=attention,
        kernel=kernel,
        recompute=recompute,
        optimizer=optimizer,
        grad_dtype=grad_dtype.value if grad_dtype is not None else None,
        master_weights=master_weights,
        rounding=rounding(quantize, group_size, head=quantize_head),
        cache_dtype=cache_dtype,
        prefill_tokens=prefill_tokens,
        serve_batch_sizes=serve_batch_sizes(serve_batch),
        serve_seq_lens=serve_seq_lens(loaded, serve_len),
        accelerator=load_hardware(gpu, hardware) if gpu is not None else None,
        gpus=gpus,
        utilisation=utilisation,
        usd_per_gpu_hour=price,
        budget_tokens=_tokens(budget_tokens) if budget_tokens is not None else None,
    )
    report = estimated(loaded, asked._replace(layout=_layout(loaded, asked, plan)))
    next_step = follow_up("params", same_model(config, set_))
    return Outcome(report, lambda: estimate_view(report, by), format_, output, next_step=next_step)


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


def _layout(loaded: LoadedConfig, asked: Request, plan: str | None) -> Layout | None:
    """Return the layout that is asked for: replicas that divide all they can where no plan is and no GPU is known."""
    if plan == AUTO or asked.gpus == 1 or (plan is None and asked.accelerator is not None):
        return None
    from tinylm_cli.analysis.parallel.job import Job
    from tinylm_cli.cli.plan_option import read_layout, require_even
    from tinylm_cli.reports.plan import Layout

    if plan is None:
        return Layout(data=asked.gpus, zero=3)
    layout = read_layout(plan, asked.gpus)
    require_even(loaded, Job(loaded.config, asked.batch_size, asked.seq_len), layout, plan)
    return layout
