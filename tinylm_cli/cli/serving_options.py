"""The options of serving, and the serving setup that they make."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

from tinylm_cli.analysis.setups import UNQUANTIZED, QuantizationConfig, ServingSetup
from tinylm_cli.cli.error_collector import ErrorCollector
from tinylm_cli.cli.options import SERVING_PANEL, amount_option, amount_parser, option, option_span
from tinylm_cli.cli.workload_options import require_length, sequence_length
from tinylm_cli.config.choices import KvCacheDtype
from tinylm_cli.config.diagnostic_codes import clip, config_error, diagnostic
from tinylm_cli.errors import ConfigError, UsageError
from tinylm_cli.reports.choices import Quantization
from tinylm_cli.reports.record import Record

if TYPE_CHECKING:
    from tinylm_cli.cli.training_options import TrainingOptions
    from tinylm_cli.config.loader import LoadedConfig
    from tinylm_cli.errors import ConfigError, Span

DEFAULT = ServingSetup()

SERVING_BATCH_SIZE, SERVING_SEQ_LEN = "--serving-batch-size", "--serving-seq-len"

MAX_LISTED = 16
"""Maximum number of batch sizes, and of lengths, in one serving table."""

ListedKind = Literal["count", "length"]

QuantizeOption = Annotated[
    Quantization | None,
    option(
        "Weight quantization for inference and, with --lora, of the frozen weights.  [default: as the checkpoint stores"
        " them]",
        panel=SERVING_PANEL,
    ),
]
GroupSizeOption = Annotated[
    int | None,
    option(
        f"Group size of int4 quantization: weights that share a scale.  [default: {UNQUANTIZED.group_size}]",
        panel=SERVING_PANEL, metavar="N", min=1,
    ),
]  # fmt: skip
QuantizeHeadOption = Annotated[bool, option("Quantize the LM head too.", "--quantize-head", panel=SERVING_PANEL)]
KvCacheDtypeOption = Annotated[
    KvCacheDtype | None,
    option(
        "Data type of the KV cache, also float8 and int8.  [default: as stored, or --dtype]",
        panel=SERVING_PANEL, metavar="NAME",
    ),
]  # fmt: skip
PrefillTokensOption = Annotated[
    int,
    amount_option(
        "Maximum prompt tokens per prefill pass (chunked prefill).",
        "--prefill-tokens", "length", example="8k", maximum=10**9, metavar="T", panel=SERVING_PANEL,
    ),
]  # fmt: skip
ServingBatchSizeOption = Annotated[
    str | None,
    option(
        "Sequences decoded together; a list such as 1,8,64 sets the rows of the table.  [default: --batch-size]",
        SERVING_BATCH_SIZE, panel=SERVING_PANEL, metavar="B,B,...",
    ),
]  # fmt: skip
ServingSeqLenOption = Annotated[
    str | None,
    option(
        "Tokens in the KV cache per sequence; a list such as 4k,32k sets the columns.  [default: --seq-len]",
        SERVING_SEQ_LEN, panel=SERVING_PANEL, metavar="T,T,...",
    ),
]  # fmt: skip


class ServingOptions(Record):
    """The options of serving; their values match ``ServingSetup``."""

    quantize: QuantizeOption = None
    group_size: GroupSizeOption = None
    quantize_head: QuantizeHeadOption = UNQUANTIZED.head
    kv_cache_dtype: KvCacheDtypeOption = None
    prefill_tokens: PrefillTokensOption = DEFAULT.prefill_tokens
    serving_batch_size: ServingBatchSizeOption = None
    serving_seq_len: ServingSeqLenOption = None


def serving_setup(
    options: ServingOptions, training: TrainingOptions, loaded: LoadedConfig | None, errors: ErrorCollector
) -> ServingSetup:
    """Return the setup that the options state; it is valid if ``errors`` stays empty.

    Batch size and length default to the training setup's; dtype and attention kernel are the training setup's.

    Args:
        options: The options of serving.
        training: The options of training.
        loaded: The model; None if its config is invalid.
        errors: Receives the errors in the options.

    Raises:
        UsageError: If an option has no effect with the others.
    """
    batch_sizes = errors.read(_batch_sizes, options.serving_batch_size) or ()
    lengths = errors.read(_seq_lens, loaded, options.serving_seq_len) if loaded is not None else None
    length = errors.read(sequence_length, loaded, training.seq_len) if loaded is not None else None
    return ServingSetup(
        batch_size=batch_sizes[0] if len(batch_sizes) == 1 else training.batch_size,
        seq_len=lengths[0] if lengths and len(lengths) == 1 else length,
        dtype=training.dtype,
        cache_dtype=options.kv_cache_dtype,
        quantization=_quantization(options),
        attention_kernel=training.kernel,
        prefill_tokens=options.prefill_tokens,
        batch_sizes=tuple(sorted(batch_sizes)),
        seq_lens=tuple(sorted(lengths or ())),
    )


def _quantization(options: ServingOptions) -> QuantizationConfig | None:
    """Return how weights are quantized; None for the types of the checkpoint.

    Raises:
        UsageError: If an option has no effect with the others.
    """
    if options.group_size is not None and options.quantize != "int4":
        raise UsageError("--group-size needs --quantize int4", help="add it, or remove --group-size")
    if options.quantize_head and options.quantize in (None, "none"):
        raise UsageError("--quantize-head needs --quantize", help="add it, for example --quantize int8")
    if options.quantize is None:
        return None
    return QuantizationConfig(options.quantize, options.group_size or UNQUANTIZED.group_size, options.quantize_head)


class _ListItem(NamedTuple):
    """A number of a list, and its position in the option."""

    value: int
    span: Span


def _batch_sizes(written: str | None) -> tuple[int, ...]:
    """Return the batch sizes of ``1,8,64``, each once.

    Raises:
        ConfigError: If one of them is not a number; contains every error, each at its position.
    """
    return tuple(dict.fromkeys(each.value for each in _parse_list(SERVING_BATCH_SIZE, written, "count", "1,8,64")))


def _seq_lens(loaded: LoadedConfig, written: str | None) -> tuple[int, ...]:
    """Return the lengths of ``4096,32k``, each once.

    Raises:
        ConfigError: If one of them is not a number, or exceeds max_len; points at each and, if the config states it,
            at max_len.
    """
    items, errors = _parse_list(SERVING_SEQ_LEN, written, "length", "4k,32k"), ErrorCollector()
    for each in items:
        remedy = f"add --set max_len={each.value}"
        errors.read(require_length, [loaded], each.value, remedy, SERVING_SEQ_LEN, each.span)
    errors.raise_if_any()
    return tuple(dict.fromkeys(each.value for each in items))


_LISTED = {"count": "numbers of sequences", "length": "numbers of tokens"}


def _parse_list(option: str, written: str | None, kind: ListedKind, example: str) -> list[_ListItem]:
    if written is None:
        return []
    items: list[_ListItem] = []
    errors, start = [], 0
    for text in written.split(","):
        span = option_span(option, written, start, start + len(text))
        start += len(text) + 1
        try:
            items.append(_ListItem(amount_parser(option, kind, example=example, maximum=10**9)(text.strip()), span))
        except ConfigError:
            message = f"{option} lists {_LISTED[kind]}, not {clip(text) or 'nothing'}"
            errors.append(diagnostic("wrong-type", message, span.source, span, help=f"for example {option} {example}"))
    if len(items) > MAX_LISTED:
        message = f"{option} has {len(items)} numbers; the maximum is {MAX_LISTED}"
        span = option_span(option, written)
        errors.append(diagnostic("out-of-range", message, span.source, span))
    if errors:
        raise config_error(errors)
    return items
