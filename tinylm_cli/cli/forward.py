"""``tinylm forward``: run tokens through the model, and show every stage."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from tinylm_cli.cli.model_options import (
    DeviceOption,
    DTypeOption,
    MetaOption,
    ModelConfigOption,
    ModelRequest,
    SeedOption,
    WeightsOption,
)
from tinylm_cli.cli.next_steps import config_words, model_words, next_step
from tinylm_cli.cli.options import (
    INPUT_PANEL,
    OUTPUT_PANEL,
    FormatOption,
    OutputOption,
    SetOption,
    TableOption,
)
from tinylm_cli.cli.output import CommandOutput, Format
from tinylm_cli.cli.progress import working
from tinylm_cli.cli.requested_config import requested_config
from tinylm_cli.cli.tokens import check_length, parse_sizes, prompt_ids, tokenizer_of
from tinylm_cli.errors import UsageError
from tinylm_cli.quantities import counted

MAX_TEXT = 60
"""Characters of a text that the next command repeats."""

if TYPE_CHECKING:
    from tinylm_cli.config.schema import ModelConfig
    from tinylm_cli.interop.tokenizer import Tokenizer

TokensOption = Annotated[
    str | None,
    typer.Option(
        metavar="IDS|@FILE|-", help="Token ids with commas or spaces, @FILE, or - for standard input; bare: 5,12,8.",
        show_default=False, rich_help_panel=INPUT_PANEL,
    ),
]  # fmt: skip
TextOption = Annotated[
    str | None,
    typer.Option(
        "--text",
        metavar="TEXT",
        help="Text, encoded by the folder's tokenizer.json, or as bytes if vocab_size is 256.",
        show_default=False,
        rich_help_panel=INPUT_PANEL,
    ),
]


def forward(
    config: ModelConfigOption = None,
    tokens: TokensOption = None,
    text: TextOption = None,
    random: Annotated[
        str | None,
        typer.Option(
            metavar="BxT",
            help="Random ids: batch size and length, such as 4x128.",
            show_default=False,
            rich_help_panel=INPUT_PANEL,
        ),
    ] = None,
    top_k: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=1,
            help="Candidates for the next token to show; none with --random.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = 5,
    expand: Annotated[
        bool, typer.Option("--expand", help="Show the stages inside every block.", rich_help_panel=OUTPUT_PANEL)
    ] = False,
    device: DeviceOption = "cpu",
    dtype: DTypeOption = None,
    seed: SeedOption = 0,
    meta: MetaOption = False,
    weights: WeightsOption = None,
    set_: SetOption = None,
    format_: FormatOption = Format.text,
    table: TableOption = None,
    output: OutputOption = None,
) -> CommandOutput:
    """Run tokens through the model; show what each stage computes.

    Shows shape, mean and standard deviation of every stage's output, the most likely next tokens, the loss and
    ln(vocab_size), and the time of a pass.

    \b
    Examples:
      tinylm forward --tokens
      tinylm forward small --tokens 5,12,8 --top-k 3
      tinylm forward --text "Once upon a time" --expand
      tinylm forward base --random 4x128
      seq 0 99 | tinylm forward --tokens -
    """
    if sum(given is not None for given in (tokens, text, random)) > 1:
        raise UsageError("--tokens, --text and --random cannot be combined", help="keep one of them")
    from tinylm_cli.analysis.cpu_memory import forward_bytes

    loaded = requested_config(config, set_ or (), weights)
    decodes = random is None and not meta  # the candidates for the next token
    tokenizer = (
        tokenizer_of(loaded.config, config, weights, required=text is not None) if decodes or text is not None else None
    )
    batch_size, seq_len, ids = _input(loaded.config, tokens, text, random, tokenizer)
    check_length(seq_len, loaded.config)
    request = ModelRequest(loaded, device, dtype, seed, meta, weights)
    request.require_room(
        forward_bytes(loaded.config, batch_size=batch_size, seq_len=seq_len, dtype=request.dtype_name),
        f"a forward pass of {batch_size:,} × {counted(seq_len, 'token')}",
    )
    model = request.build()

    import torch

    from tinylm_cli.model.forward_trace import run_forward
    from tinylm_cli.render.views.forward import forward_view

    where = model.lm_head.weight.device
    if ids:
        batch = torch.tensor([ids], device=where)
    else:
        drawn = torch.randint(
            loaded.config.vocab_size, (batch_size, seq_len), generator=torch.Generator().manual_seed(seed)
        )
        batch = drawn.to(where)
    with working(f"running {loaded.name}"):
        report = run_forward(
            model,
            batch,
            name=loaded.name,
            source=loaded.source,
            untrained=weights is None,
            top_k=0 if random else top_k,
            echo_tokens=random is None,
            decode=None if tokenizer is None else tokenizer.decode,
        )
    every = expand or format_ is Format.csv  # CSV has every stage, as JSON does
    following = (
        next_step("forward", "estimate", config_words(config, set_, weights))
        if meta
        else next_step("forward", "generate", model_words(config, set_, weights), request.words(), _prompt_words(text))
    )
    return CommandOutput(
        report, lambda: forward_view(report, expand=every), format_, output, table=table, next_step=following
    )


def _prompt_words(text: str | None) -> str:
    """Return the prompt of the next command: the same text, if it is short, else example ids."""
    return shlex.join(("--text", text)) if text and text.isprintable() and len(text) <= MAX_TEXT else "--tokens"


def _input(
    config: ModelConfig, tokens: str | None, text: str | None, random: str | None, tokenizer: Tokenizer | None
) -> tuple[int, int, tuple[int, ...]]:
    """Return B, T and the ids, which are empty when they are random."""
    if random is not None:
        return (*parse_sizes(random), ())
    ids = prompt_ids(tokens, text, config, tokenizer)
    return 1, len(ids), ids
