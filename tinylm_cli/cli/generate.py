"""``tinylm generate``: sample tokens after a prompt."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Annotated

from tinylm_cli.cli.forward import TextOption, TokensOption
from tinylm_cli.cli.model_options import DeviceOption, ModelOptions, ModelRequest
from tinylm_cli.cli.next_steps import next_step
from tinylm_cli.cli.options import ABOVE_ZERO, SAMPLING_PANEL, PageOutput, amount_option, number_option, option
from tinylm_cli.cli.output import CommandOutput
from tinylm_cli.cli.streams import print_note, write_stdout
from tinylm_cli.cli.tokens import prompt_ids, tokenizer_of
from tinylm_cli.cli.wording import as_options
from tinylm_cli.errors import UsageError
from tinylm_cli.quantities import counted
from tinylm_cli.render.sanitize import for_terminal
from tinylm_cli.render.terminal import Terminal, is_terminal, terminal_of

if TYPE_CHECKING:
    from torch import Tensor

    from tinylm_cli.interop.tokenizer import Tokenizer


HEADS = {
    "sequence_classification": "classifies sequences",
    "token_classification": "classifies tokens",
    "none": "has no head",
}
"""Description of a model without an LM head, by ``head.kind``."""

MaxNewTokensOption = Annotated[
    int,
    amount_option(
        "Maximum number of tokens to generate.",
        "--max-new-tokens", "length", short="-n", example="100", panel=SAMPLING_PANEL,
    ),
]  # fmt: skip
TemperatureOption = Annotated[
    float,
    number_option(
        "Sampling temperature; 0 takes the most likely token and ignores --top-k and --top-p.",
        "--temperature", minimum=0, example="0.8", metavar="X", panel=SAMPLING_PANEL,
    ),
]  # fmt: skip
TopPOption = Annotated[
    float | None,
    number_option(
        "Sample from the smallest set of tokens whose probabilities sum to at least P.",
        "--top-p", minimum=ABOVE_ZERO, maximum=1, example="0.9", metavar="P", panel=SAMPLING_PANEL,
    ),
]  # fmt: skip


def generate(
    model: ModelOptions,
    *,
    tokens: TokensOption = None,
    text: TextOption = None,
    max_new_tokens: MaxNewTokensOption = 20,
    temperature: TemperatureOption = 1.0,
    top_k: Annotated[
        int | None, option("Sample from the N most likely tokens.", panel=SAMPLING_PANEL, metavar="N", min=1)
    ] = None,
    top_p: TopPOption = None,
    stop_token: Annotated[
        int | None,
        option("Stop after generating this token id, in all codebooks at once.", panel=SAMPLING_PANEL, metavar="ID"),
    ] = None,
    device: DeviceOption = "cpu",
    to: PageOutput,
) -> CommandOutput:
    """Generate tokens from a prompt, with a KV cache.

    On a terminal, tokens are printed as they are sampled.

    \b
    Examples:
      tinylm generate --tokens 5,12,8 --max-new-tokens 10
      tinylm generate --text "Once" --temperature 0.8 --seed 1
      tinylm generate --weights tiny-model --temperature 0
    """
    if tokens is not None and text is not None:
        raise UsageError("--tokens and --text cannot be combined", help="remove one of them")
    request = ModelRequest.of(model, device)
    loaded, weights = request.loaded, request.weights
    if not loaded.config.has_lm_head:
        raise UsageError(
            f"{loaded.name} {HEADS[loaded.config.head.kind]} (head.kind {loaded.config.head.kind}): it does not predict"
            " next tokens",
            help="tinylm forward shows its outputs",
        )
    vocab_size = loaded.config.vocab_size
    if stop_token is not None and not 0 <= stop_token < vocab_size:
        raise UsageError(
            f"--stop-token {stop_token} is outside the vocabulary of {vocab_size:,}",
            help=f"ids range from 0 to {vocab_size - 1}",
        )
    tokenizer = tokenizer_of(loaded.config, model.config, weights, required=text is not None)
    prompt = prompt_ids(tokens, text, loaded.config, tokenizer)
    from tinylm_cli.analysis.cpu_memory import decode_bytes

    n_codebooks = loaded.config.embedding.n_codebooks
    prompt_len = len(prompt) // n_codebooks
    request.require_memory_for(
        decode_bytes(loaded.config, prompt_len=prompt_len, max_new_tokens=max_new_tokens, dtype=request.dtype),
        f"decoding {counted(min(prompt_len + max_new_tokens - 1, loaded.config.max_len), 'token')}",
    )
    _note_sliding_window(prompt_len + max_new_tokens - 1, request)
    module = request.build()

    import torch

    from tinylm_cli.model.sampling import SamplingParams
    from tinylm_cli.render.text import to_text
    from tinylm_cli.render.views.generate import GENERATED, generate_view, opening_view
    from tinylm_cli.reports.generate import GenerateReport

    live = to.format_ == "text" and to.output is None and is_terminal(sys.stdout)
    terminal = terminal_of(sys.stdout)
    if live:
        opening = opening_view(loaded.name, prompt, text, n_codebooks=n_codebooks, untrained=weights is None)
        write_stdout(to_text(opening, terminal) + GENERATED)
    start = torch.tensor(prompt, device=module.device).view(loaded.config.tokens_shape(1, prompt_len))
    began = time.perf_counter()
    sampling = SamplingParams(temperature, top_k, top_p, model.seed)
    steps = module.stream(start, max_new_tokens, sampling, stop_token)
    generated = _collect(steps, _live_writer(terminal, tokenizer if text is not None else None) if live else None)
    seconds = time.perf_counter() - began
    report = GenerateReport(
        name=loaded.name,
        source=loaded.source,
        untrained=weights is None,
        n_codebooks=n_codebooks,
        prompt=prompt,
        generated=generated,
        text=None if tokenizer is None else tokenizer.decode((*prompt, *generated)),
        stopped="stop_token" if set(generated[-n_codebooks:]) == {stop_token} else "length",
        milliseconds=seconds * 1000,
        tokens_per_second=len(generated) / n_codebooks / seconds,
        ignored_keys=loaded.ignored_keys,
    )
    return CommandOutput(
        report,
        lambda: generate_view(report, as_options, streamed=live, as_text=text is not None),
        to,
        next_step=next_step("generate", "estimate", request.config_arguments()),
    )


def _note_sliding_window(length: int, request: ModelRequest) -> None:
    """Print a note if decoding will exceed max_len and therefore slow down."""
    config = request.loaded.config
    if length > config.max_len:
        trained = request.weights is not None and config.position.kind == "learned"
        remedy = "" if trained else f"; --set max_len={length} avoids this"
        print_note(
            f"Beyond max_len {config.max_len:,}, the context window slides: the KV cache becomes invalid, and each"
            f" token takes a pass over {config.max_len:,} tokens{remedy}."
        )


def _collect(steps: Iterable[Tensor], write: Callable[[list[int]], None] | None) -> tuple[int, ...]:
    generated: list[int] = []
    for step in steps:
        ids = step[0].reshape(-1).tolist()  # one of each codebook
        generated += ids
        if write is not None:
            write(ids)
    if write is not None:
        write_stdout("\n")
    return tuple(generated)


def _live_writer(terminal: Terminal, tokenizer: Tokenizer | None) -> Callable[[list[int]], None]:
    """Return a function that writes the ids of one position: as text if there is a tokenizer, else as ids."""
    decode = None if tokenizer is None else tokenizer.decoder()
    separator = ""

    def write(ids: list[int]) -> None:
        nonlocal separator
        shown = f"{separator}{','.join(map(str, ids))}"
        write_stdout(shown if decode is None else for_terminal(decode(ids[0]), terminal))
        separator = " "

    return write
