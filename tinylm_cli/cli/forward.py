"""``tinylm forward``: run tokens through the model, and show every stage."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

from tinylm_cli.cli.model_options import DeviceOption, MetaOption, ModelOptions, ModelRequest
from tinylm_cli.cli.next_steps import next_step
from tinylm_cli.cli.options import INPUT_PANEL, ReportOutput, option
from tinylm_cli.cli.output import CommandOutput
from tinylm_cli.cli.progress import working
from tinylm_cli.cli.tokens import check_length, parse_sizes, prompt_ids, tokenizer_of
from tinylm_cli.cli.wording import as_options
from tinylm_cli.errors import UsageError
from tinylm_cli.quantities import counted
from tinylm_cli.shell_quoting import shell_join

MAX_TEXT = 60
"""Maximum length of a text that the next command repeats."""

if TYPE_CHECKING:
    from tinylm_cli.config.schema import ModelConfig
    from tinylm_cli.interop.tokenizer import Tokenizer

TokensOption = Annotated[
    str | None,
    option(
        "Token ids separated by commas or spaces, @FILE, or - for standard input; without a value: 5,12,8. With several"
        " codebooks, the ids of each position in turn.",
        panel=INPUT_PANEL, metavar="IDS|@FILE|-",
    ),
]  # fmt: skip
TextOption = Annotated[
    str | None,
    option(
        "Text, encoded by the folder's tokenizer.json, or as bytes if vocab_size is 256.",
        "--text", panel=INPUT_PANEL, metavar="TEXT",
    ),
]  # fmt: skip
RandomOption = Annotated[
    str | None, option("Random ids: batch size and length, such as 4x128.", panel=INPUT_PANEL, metavar="BxT")
]


def forward(
    model: ModelOptions,
    *,
    tokens: TokensOption = None,
    text: TextOption = None,
    random: RandomOption = None,
    top_k: Annotated[
        int, option("Number of most likely next tokens to show; none with --random.", metavar="N", min=1)
    ] = 5,
    expand: Annotated[bool, option("Show every stage of every block.", "--expand")] = False,
    device: DeviceOption = "cpu",
    meta: MetaOption = False,
    to: ReportOutput,
) -> CommandOutput:
    """Run tokens through the model; show the output of each part.

    Shows the shape, mean and standard deviation of each stage's output, the most likely next tokens, the loss,
    compared with ln(vocab_size), and the time of the pass. For a classifier, shows the logits of its labels instead.

    \b
    Examples:
      tinylm forward --tokens
      tinylm forward small --tokens 5,12,8 --top-k 3
      tinylm forward --text "Once upon a time" --expand
      tinylm forward base --random 4x128
      seq 0 99 | tinylm forward --tokens -
    """
    if sum(given is not None for given in (tokens, text, random)) > 1:
        raise UsageError("--tokens, --text and --random cannot be combined", help="remove one of them")
    from tinylm_cli.analysis.cpu_memory import forward_bytes, module_bytes, require_short_meta_pass

    request = ModelRequest.of(model, device, meta)
    loaded, weights = request.loaded, request.weights
    if meta:
        module_bytes(loaded.config)  # names the larger cost
        require_short_meta_pass(loaded.config)
    decodes = random is None and not meta  # for the text of the next tokens
    required = text is not None
    tokenizer = tokenizer_of(loaded.config, model.config, weights, required=required) if decodes or required else None
    batch_size, seq_len, ids = _input(loaded.config, tokens, text, random, tokenizer)
    check_length(seq_len, loaded.config)
    request.require_memory_for(
        forward_bytes(loaded.config, batch_size=batch_size, seq_len=seq_len, dtype=request.dtype),
        f"a forward pass of {batch_size:,} × {counted(seq_len, 'token')}",
    )
    module = request.build()

    import torch

    from tinylm_cli.model.forward_trace import run_forward
    from tinylm_cli.render.views.forward import forward_view

    shape = loaded.config.tokens_shape(batch_size, seq_len)
    if ids:
        batch = torch.tensor(ids, device=module.device).view(shape)
    else:
        rng = torch.Generator().manual_seed(model.seed)
        batch = torch.randint(loaded.config.vocab_size, shape, generator=rng).to(module.device)
    with working(f"running {loaded.name}"):
        report = run_forward(
            module,
            batch,
            name=loaded.name,
            source=loaded.source,
            untrained=weights is None,
            top_k=0 if random else top_k,
            echo_tokens=random is None,
            decode=None if tokenizer is None else tokenizer.decode,
        )
    report = replace(report, ignored_keys=loaded.ignored_keys)
    every = expand or to.format_ == "csv"  # CSV lists every stage, as JSON does
    following = (
        next_step("forward", "estimate", request.config_arguments())
        if meta or not loaded.config.has_lm_head
        else next_step("forward", "generate", *request.build_arguments(), _prompt_arguments(tokens, text))
    )
    return CommandOutput(report, lambda: forward_view(report, as_options, expand=every), to, next_step=following)


def _prompt_arguments(tokens: str | None, text: str | None) -> str:
    """Return the same prompt for the next command if it is short and on the command line; empty for the example ids."""
    if text and text.isprintable() and len(text) <= MAX_TEXT:
        return shell_join(("--text", text))
    ids = re.fullmatch(r"[\d\s,]+", tokens or "")
    return f"--tokens {','.join(re.findall(r'[0-9]+', ids[0]))}" if ids and len(ids[0]) <= MAX_TEXT else ""


def _input(
    config: ModelConfig, tokens: str | None, text: str | None, random: str | None, tokenizer: Tokenizer | None
) -> tuple[int, int, tuple[int, ...]]:
    """Return B, T and the ids; no ids for ``--random``."""
    if random is not None:
        return (*parse_sizes(random), ())
    ids = prompt_ids(tokens, text, config, tokenizer)
    return 1, len(ids) // config.embedding.n_codebooks, ids
