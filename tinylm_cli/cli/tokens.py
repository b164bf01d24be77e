"""Token ids from the command line: as numbers, in a file, on standard input, as text, or random."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tinylm_cli.cli.argv import BARE_TOKENS
from tinylm_cli.cli.streams import print_note
from tinylm_cli.config.amounts import parse_length
from tinylm_cli.errors import InputError, UnableError, UsageError
from tinylm_cli.quantities import counted
from tinylm_cli.regular_file import open_regular

if TYPE_CHECKING:
    from tinylm_cli.config.schema import ModelConfig
    from tinylm_cli.interop.tokenizer import Tokenizer

COURSE_TOKENS = (5, 12, 8)
MAX_INPUT_BYTES = 64 * 1024 * 1024

_MAX_SHOWN = 20
_SEPARATORS = re.compile(r"[,\s]+")
_SIZES = re.compile(r"([1-9][0-9]{0,8})[x×]([1-9][0-9]{0,8}[kK]?)")


def prompt_ids(
    tokens: str | None, text: str | None, config: ModelConfig, tokenizer: Tokenizer | None
) -> tuple[int, ...]:
    """Return the ids of ``--tokens`` or ``--text``; without either, the example ids of the course.

    Raises:
        InputError: If a file or standard input cannot be read, or the tokenizer does not fit the model.
        UsageError: If an id is outside the vocabulary, no ids are given, or a tokenizer for the text is missing.
    """
    if text is not None:
        return encode_text(text, config, tokenizer)
    return course_tokens(config) if tokens in (None, BARE_TOKENS) else parse_tokens(tokens, config)


def tokenizer_of(
    config: ModelConfig, reference: str | None, weights: Path | None, *, required: bool
) -> Tokenizer | None:
    """Return the tokenizer of a model: the ``tokenizer.json`` in its folder, else bytes for a vocabulary of 256.

    A model with several codebooks has none.

    Args:
        config: The config of the model.
        reference: ``--config``, which may be a folder.
        weights: ``--weights``; its tokenizer has precedence.
        required: Whether a text must be encoded. If not, an unusable tokenizer only causes a note.

    Raises:
        UnableError: If it is required and the tokenizers library is not installed.
        InputError: If it is required and its file is not a tokenizer.
    """
    from tinylm_cli.interop.tokenizer import open_tokenizer

    if config.embedding.n_codebooks > 1:
        return None  # ids of an audio codec
    try:
        return open_tokenizer(tokenizer_file(reference, weights), config.vocab_size)
    except UnableError as error:
        if required:
            raise
        print_note(f"tokens are shown as ids: {error.message}" + (f"; {error.help}" if error.help else ""))
        return None


def tokenizer_file(reference: str | None, weights: Path | None) -> Path | None:
    """Return the ``tokenizer.json`` in the folder of the weights, or in that of the config; None if there is none."""
    from tinylm_cli.interop.tokenizer import TOKENIZER_FILE

    folders = [Path(folder) for folder in (weights, reference) if folder not in (None, "-")]
    return next((folder / TOKENIZER_FILE for folder in folders if _holds(folder, TOKENIZER_FILE)), None)


def _holds(folder: Path, name: str) -> bool:
    try:
        return os.path.lexists(folder / name)  # true for a pipe or a folder; reading it reports its type
    except ValueError:  # not a file name
        return False


def course_tokens(config: ModelConfig) -> tuple[int, ...]:
    """Return ``(5, 12, 8)`` modulo the vocabulary size, cut to max_len; each id once for each codebook."""
    tokens = COURSE_TOKENS[: config.max_len]
    return tuple(token % config.vocab_size for token in tokens for _ in range(config.embedding.n_codebooks))


def parse_tokens(argument: str, config: ModelConfig) -> tuple[int, ...]:
    """Return the ids in ``5,12,8`` or ``5 12 8``, in the file ``@path``, or on standard input for ``-``.

    With several codebooks, the ids of each position follow each other.

    Raises:
        InputError: If the file or standard input cannot be read.
        UsageError: If an entry is not an id of the vocabulary, no ids are given, or a position lacks some.
    """
    entries = [entry for entry in _SEPARATORS.split(_read(argument)) if entry]
    if not entries:
        raise UsageError("no tokens given", help="for example --tokens 5,12,8")
    ids = tuple(_id(entry, position, config.vocab_size) for position, entry in enumerate(entries))
    n_codebooks = config.embedding.n_codebooks
    if len(ids) % n_codebooks:
        raise UsageError(
            f"{counted(len(ids), 'token id')}: not a multiple of embedding.n_codebooks {n_codebooks}",
            help=f"pass {n_codebooks} ids for each position, one from each codebook",
        )
    return ids


def encode_text(text: str, config: ModelConfig, tokenizer: Tokenizer | None) -> tuple[int, ...]:
    """Return the ids of ``text``.

    Raises:
        InputError: If the tokenizer does not fit the model.
        UsageError: If the tokenizer is missing, or the text has no tokens.
    """
    if config.embedding.n_codebooks > 1:
        raise UsageError(
            "--text: a model with several codebooks has no tokenizer",
            help="pass ids with --tokens, position by position",
        )
    if tokenizer is None:
        raise UsageError(
            f"--text: the model has no tokenizer, and vocab_size is {config.vocab_size:,}, not 256 (bytes)",
            help="name a folder with a tokenizer.json, or pass ids with --tokens",
        )
    ids = tokenizer.encode(text)
    if not ids:
        raise UsageError("the text is empty", help='for example --text "Once upon a time"')
    return ids


def parse_sizes(argument: str) -> tuple[int, int]:
    """Return (B, T), written as ``4x128`` or ``4x1k``.

    Raises:
        UsageError: If it has another form.
    """
    match = _SIZES.fullmatch(argument)
    if match is None:
        raise UsageError(f"--random {argument}: expected BxT, batch size and length", help="for example --random 4x128")
    length = parse_length(match[2])
    assert length is not None
    return int(match[1]), length


def check_length(length: int, config: ModelConfig) -> None:
    """Reject a sequence longer than max_len.

    Raises:
        UsageError: If ``length`` is over ``max_len``.
    """
    if length > config.max_len:
        raise UsageError(
            f"{length:,} tokens are more than max_len {config.max_len:,}",
            help=f"pass fewer tokens, or add --set max_len={length}",
        )


def _read(argument: str) -> str:
    if argument == "-":
        name = "standard input"
        try:
            if sys.stdin is None:
                raise InputError("standard input is closed", help="pipe ids in, or pass them after --tokens")
            data = sys.stdin.buffer.read(MAX_INPUT_BYTES + 1)
        except OSError as error:
            raise InputError(f"cannot read {name}: {error.strerror}") from error
    elif argument.startswith("@"):
        name = argument[1:]
        try:
            with open_regular(name) as file:
                data = file.read(MAX_INPUT_BYTES + 1)
        except FileNotFoundError as error:
            raise InputError(f"no such file: {name}") from error
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise InputError(f"cannot read {name}: {reason}") from error
    else:
        return argument
    if len(data) > MAX_INPUT_BYTES:
        raise InputError(f"{name} is larger than {MAX_INPUT_BYTES // 1024**2} MiB")
    return data.decode("utf-8", "replace")


def _id(text: str, position: int, vocab_size: int) -> int:
    place = f"token {position + 1}"
    shown = text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"
    if not re.fullmatch(r"-?[0-9]+", text):
        raise UsageError(f"{place} is {shown}, not an integer", help="pass ids such as 5,12,8")
    digits = text.lstrip("0") or "0"
    if len(digits) > len(str(vocab_size)) or not 0 <= int(digits) < vocab_size:
        raise UsageError(
            f"{place} is {shown}, outside the vocabulary of {vocab_size:,}",
            help=f"ids range from 0 to {vocab_size - 1}",
        )
    return int(digits)
