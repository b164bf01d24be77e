"""Encode text to token ids and decode them, with a ``tokenizer.json`` or as UTF-8 bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tinylm_cli.errors import InputError, UnableError
from tinylm_cli.quantities import BYTE_VOCAB_SIZE
from tinylm_cli.regular_file import read_regular

if TYPE_CHECKING:
    import tokenizers

TOKENIZER_FILE = "tokenizer.json"
MAX_TOKENIZER_BYTES = 256 * 1024**2

_EXPECTED_FILE = "pass a file written by Hugging Face's tokenizers library"


class ByteTokenizer:
    """Uses UTF-8 bytes as ids, for a vocabulary of 256."""

    def encode(self, text: str) -> tuple[int, ...]:
        """Return the bytes of ``text``; bytes of the command line that are not UTF-8 pass unchanged."""
        return tuple(text.encode("utf-8", "surrogateescape"))

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of bytes; invalid UTF-8 becomes U+FFFD."""
        return bytes(ids).decode("utf-8", "replace")

    def decoder(self) -> Callable[[int], str]:
        """Return a stateful function that takes one id at a time, and returns text once its characters are complete."""
        import codecs

        decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        return lambda token: decode(bytes([token]))


class FileTokenizer:
    """A tokenizer loaded from ``tokenizer.json`` by Hugging Face's ``tokenizers`` library.

    Args:
        path: The file.
        vocab_size: Vocabulary size of the model; ids must be smaller.

    Raises:
        UnableError: If the library is not installed.
        InputError: If the file cannot be read, or is not a tokenizer.

    References:
        https://huggingface.co/docs/tokenizers
    """

    def __init__(self, path: Path, vocab_size: int) -> None:
        self._path = path
        self._vocab_size = vocab_size
        self._tokenizer = _load(path)

    def encode(self, text: str) -> tuple[int, ...]:
        """Return the ids of ``text``, with the special tokens that the tokenizer adds.

        Raises:
            InputError: If an id is outside the vocabulary, or the text cannot be encoded.
        """
        try:
            ids = tuple(self._tokenizer.encode(text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")).ids)
        except Exception as error:  # the library raises plain Exception
            raise InputError(f"{self._path} cannot encode the text: {error}") from error
        if ids and max(ids) >= self._vocab_size:
            raise InputError(
                f"{self._path} produces token id {max(ids)}, outside the vocabulary of {self._vocab_size:,}",
                help="use the tokenizer.json of this model",
            )
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ``ids``, without special tokens; unknown ids are skipped."""
        return str(self._tokenizer.decode(list(ids)))

    def decoder(self) -> Callable[[int], str]:
        """Return a stateful function that takes one id at a time, and returns text once its characters are complete."""
        from tokenizers.decoders import DecodeStream

        stream = DecodeStream(skip_special_tokens=True)
        return lambda token: stream.step(self._tokenizer, token) or ""


Tokenizer = ByteTokenizer | FileTokenizer


def open_tokenizer(path: Path | None, vocab_size: int) -> Tokenizer | None:
    """Return the tokenizer in a file; without a file, a byte tokenizer if V is 256, else None.

    Raises:
        UnableError: If the file needs a library that is not installed.
        InputError: If the file cannot be read, or is not a tokenizer.
    """
    if path is not None:
        return FileTokenizer(path, vocab_size)
    return ByteTokenizer() if vocab_size == BYTE_VOCAB_SIZE else None


def _load(path: Path) -> tokenizers.Tokenizer:
    try:
        import tokenizers
    except ImportError as error:
        raise UnableError(
            f"reading {path} needs the tokenizers library", help="pip install 'tinylm-cli[tokenizers]'"
        ) from error
    try:
        text = read_regular(path, MAX_TOKENIZER_BYTES).decode("utf-8")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{path} is not UTF-8 text", help=_EXPECTED_FILE) from error
    try:
        tokenizer = tokenizers.Tokenizer.from_str(text)
    except Exception as error:  # the library raises plain Exception
        raise InputError(f"{path} is not a tokenizer: {error}", help=_EXPECTED_FILE) from error
    tokenizer.no_truncation()  # a prompt is never silently truncated
    tokenizer.no_padding()
    return tokenizer
