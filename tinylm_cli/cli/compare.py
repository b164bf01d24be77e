"""``tinylm compare``: what differs between models."""

from __future__ import annotations

from typing import Annotated

import typer

from tinylm_cli.cli.error_collector import ErrorCollector
from tinylm_cli.cli.next_steps import model_words, next_step
from tinylm_cli.cli.options import (
    OUTPUT_PANEL,
    TRAINING_PANEL,
    FormatOption,
    OutputOption,
    SetOption,
    TableOption,
    amount_parser,
    complete_variant,
    require_word,
)
from tinylm_cli.cli.output import CommandOutput, Format
from tinylm_cli.cli.training_options import (
    ClusterOptions,
    GpuOption,
    GpusOption,
    HardwareOption,
    PlanOption,
    PriceOption,
    TrainingOptions,
    TrainTokensOption,
    training_setup,
)
from tinylm_cli.cli.workload_options import Storage, read_gpu, require_length
from tinylm_cli.errors import ConfigError, ExitCode, UsageError


def compare(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...",
            help=(
                "Presets, published models, files, folders with a config.json, -, or REV:PATH for a file as git has it;"
                " MODEL@KEY=VALUE,… is one with changes, and @KEY=VALUE,… the first one with them."
            ),
            autocompletion=complete_variant,
        ),
    ],
    batch_size: Annotated[
        int | None,
        typer.Option(
            metavar="B",
            parser=amount_parser("--batch-size", "count", most=10**9, example="8"),
            show_default=False,
            help="Sequences at once; what the budgets say alike when absent, or 1.",
            rich_help_panel=TRAINING_PANEL,
        ),
    ] = None,
    seq_len: Annotated[
        int | None,
        typer.Option(
            metavar="T",
            parser=amount_parser("--seq-len", "length", example="8k"),
            show_default=False,
            help="Tokens in each; what the budgets say alike when absent, or the smallest max_len.",
            rich_help_panel=TRAINING_PANEL,
        ),
    ] = None,
    dtype: Annotated[
        Storage | None,
        typer.Option(
            "--dtype",
            show_default=False,
            help="What numbers are stored in; what the budgets say alike when absent, or bfloat16.",
            rich_help_panel=TRAINING_PANEL,
        ),
    ] = None,
    gpu: GpuOption = None,
    gpus: GpusOption = 1,
    plan: PlanOption = None,
    hardware: HardwareOption = None,
    price: PriceOption = None,
    train_tokens: TrainTokensOption = None,
    exit_code: Annotated[
        bool,
        typer.Option(
            "--exit-code",
            help="Exit with 1 when they differ, 2 when that cannot be told.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = False,
    set_: SetOption = None,
    format_: FormatOption = Format.text,
    table: TableOption = None,
    output: OutputOption = None,
) -> CommandOutput:
    """Compare configs, parameters, FLOPs, memory and KV cache.

    Shows the fields that differ, defaults filled in, then parameters, FLOPs, and bytes of weights, KV cache, training
    and serving, each beside the first model. With --gpu also step time, MFU, days, cost and serving. With a single
    model, --set makes the other one; with several, it changes them all. All are compared under the same conditions.

    \b
    Examples:
      tinylm compare small --set n_layers=8
      tinylm compare llama-3-8b mistral-7b qwen3-0.6b
      tinylm compare small @n_layers=8 @n_layers=12
      tinylm compare llama-3-8b @attention.kind=latent,kv_rank=512
      tinylm compare llama-3-8b mistral-7b --gpu h100 --gpus 64 --plan auto
      tinylm compare HEAD~1:my.yaml my.yaml -f markdown
      tinylm compare old.yaml new.yaml --exit-code
    """
    from tinylm_cli.analysis.compare import compare as compare_models
    from tinylm_cli.analysis.compare import shared_setups
    from tinylm_cli.interop.variants import load_variants, parse_variants
    from tinylm_cli.render.views.compare import compare_view

    if gpu is None and (gpus > 1 or train_tokens is not None):
        option = "--train-tokens" if gpus == 1 else "--gpus"
        raise UsageError(f"{option} is about training on a GPU", help="name it, for example with --gpu h100-sxm")
    cluster = ClusterOptions(gpu, gpus, plan, hardware, price=price)
    variants = parse_variants([require_word(word) for word in models], set_ or ())
    errors = ErrorCollector()
    try:
        loaded = load_variants(variants)
        if seq_len is not None:
            errors.read(require_length, loaded, seq_len, f"add @max_len={seq_len} to the name of each such model")
            errors.raise_if_any()
        setups = shared_setups([each.config for each in loaded])
        given = {"batch_size": batch_size, "seq_len": seq_len, "dtype": dtype.value if dtype else None}
        setups = setups.changed(**{field: value for field, value in given.items() if value is not None})
        shared = setups.training
        options = TrainingOptions(shared.batch_size, shared.seq_len, Storage(shared.dtype), train_tokens=train_tokens)
        for model in loaded:  # the plan must divide every one of them
            setups = setups._replace(training=training_setup(options, cluster, model, errors))
        accelerator, _ = errors.read(read_gpu, gpu, hardware, shared.dtype) or (None, ())
        errors.raise_if_any()
    except ConfigError as error:
        if exit_code:  # 1 means that they differ, as for diff
            error.exit_code = ExitCode.UNABLE
        raise
    changed = [(model, variant.all_changes) for model, variant in zip(loaded, variants, strict=True)]
    report = compare_models(changed, setups, accelerator)
    last = variants[-1]
    following = next_step("compare", "estimate", model_words(last.reference, last.all_changes))
    failed = exit_code and not report.same
    return CommandOutput(
        report, lambda: compare_view(report), format_, output, ExitCode.FAILED if failed else ExitCode.DONE,
        next_step=following, table=table,
    )  # fmt: skip
