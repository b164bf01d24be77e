"""The tokenizer of a GGUF file, from a ``tokenizer.json``: byte-level BPE with a pre-tokenizer that llama.cpp has.

References:
    ``llama_vocab::impl::load`` and ``llm_tokenizer_bpe`` of src/llama-vocab.cpp, and ``get_vocab_base`` of
    conversion/base.py, in llama.cpp 0c1e57098, https://github.com/ggml-org/llama.cpp
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from gguf.constants import Keys, TokenType

from tinylm_cli.config.source import MAX_JSON_BYTES
from tinylm_cli.errors import UnableError
from tinylm_cli.interop import CONFIG_FILE
from tinylm_cli.interop.gguf.metadata import Value
from tinylm_cli.interop.tokenizer import MAX_TOKENIZER_BYTES
from tinylm_cli.regular_file import read_regular

_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_OTHERS = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"

PRE_TOKENIZERS = {rf"{_WORDS}\p{{N}}{{1,3}}{_OTHERS}": "llama-bpe", rf"{_WORDS}\p{{N}}{_OTHERS}": "qwen2"}
"""llama.cpp's name of the pre-tokenizer that splits by a regular expression; GPT-2's has none in the file."""

WITH_WHOLE_WORDS = ("llama-bpe",)
"""Pre-tokenizers with which a word that is a token is never merged from parts (``ignore_merges``)."""


class _Ends(NamedTuple):
    """The tokens that the tokenizer adds to a text."""

    first: int | None
    last: int | None


def vocabulary_metadata(path: Path, vocab_size: int) -> dict[str, Value]:
    """Return the metadata of a tokenizer, and the ids of the tokens that begin and end texts.

    Args:
        path: A ``tokenizer.json``; the config.json beside it states the last token of a text.
        vocab_size: Vocabulary size of the model.

    Raises:
        UnableError: If llama.cpp would tokenize otherwise; states the reason.
    """
    document, config = _read(path, MAX_TOKENIZER_BYTES), _read(path.with_name(CONFIG_FILE), MAX_JSON_BYTES)
    try:
        model, pre_tokenizer = document["model"], _pre_tokenizer(document)
        _require_usual(document, model, pre_tokenizer)
        tokens, types = _tokens(model["vocab"], document.get("added_tokens") or [], vocab_size)
        merges = [each if isinstance(each, str) else " ".join(each) for each in model["merges"]]
        ends = _ends(document.get("post_processor"))
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise UnableError(f"{path} is not a byte-level BPE tokenizer") from error
    if not merges or not all(isinstance(text, str) for text in (*tokens, *merges)):
        raise UnableError(f"{path} has no merges")
    last = ends.last if ends.last is not None else _first_id(config.get("eos_token_id"), vocab_size)
    if last is None:
        raise UnableError(f"{path.with_name(CONFIG_FILE)} states no eos_token_id")
    first = ends.first if ends.first is not None else _first_id(config.get("bos_token_id"), vocab_size)
    return {
        Keys.Tokenizer.MODEL: "gpt2",
        Keys.Tokenizer.PRE: pre_tokenizer,
        Keys.Tokenizer.LIST: tokens,
        Keys.Tokenizer.TOKEN_TYPE: types,
        Keys.Tokenizer.MERGES: merges,
        Keys.Tokenizer.BOS_ID: last if first is None else first,
        Keys.Tokenizer.EOS_ID: last,
        Keys.Tokenizer.ADD_BOS: ends.first is not None,
        Keys.Tokenizer.ADD_EOS: ends.last is not None,
    }


def _read(path: Path, max_bytes: int) -> Mapping[str, Any]:
    try:
        document = json.loads(read_regular(path, max_bytes))
    except (OSError, ValueError, RecursionError) as error:
        raise UnableError(f"{path} cannot be read as JSON") from error
    return document if isinstance(document, dict) else {}


def _pre_tokenizer(document: Mapping[str, Any]) -> str:
    """Return llama.cpp's name of the pre-tokenizer.

    Raises:
        UnableError: If it is another.
    """
    outer = document["pre_tokenizer"]
    steps = outer["pretokenizers"] if outer["type"] == "Sequence" else [outer]
    *splits, byte_level = steps
    is_byte_level = byte_level["type"] == "ByteLevel" and not byte_level.get("add_prefix_space")
    if is_byte_level and not splits and byte_level.get("use_regex", True):
        return "gpt-2"
    if is_byte_level and len(splits) == 1 and not byte_level.get("use_regex", True):
        split = splits[0]
        name = PRE_TOKENIZERS.get(split["pattern"].get("Regex"))
        if name and split["type"] == "Split" and split["behavior"] == "Isolated" and not split.get("invert"):
            return name
    raise UnableError("tokenizer.json has a pre-tokenizer other than those of GPT-2, Llama 3 and Qwen 2")


def _require_usual(document: Mapping[str, Any], model: Mapping[str, Any], pre_tokenizer: str) -> None:
    """Raise UnableError if the tokenizer has a setting that llama.cpp has not."""
    normalizer = document.get("normalizer")
    unusual = {
        "a model other than BPE": model["type"] != "BPE",
        "a normalizer other than NFC": normalizer is not None and normalizer["type"] != "NFC",
        "byte fallback": bool(model.get("byte_fallback")),
        "a prefix or suffix of parts of words": bool(
            model.get("continuing_subword_prefix") or model.get("end_of_word_suffix")
        ),
        "another value of ignore_merges": bool(model.get("ignore_merges")) != (pre_tokenizer in WITH_WHOLE_WORDS),
    }
    for name, is_there in unusual.items():
        if is_there:
            raise UnableError(f"tokenizer.json has {name}")


def _tokens(vocab: Mapping[str, int], added: list[Mapping[str, Any]], vocab_size: int) -> tuple[list[str], list[int]]:
    """Return the text and type of each id; an id without a token is unused."""
    tokens = [f"[PAD{index}]" for index in range(vocab_size)]
    types = [int(TokenType.UNUSED)] * vocab_size
    for text, index, kind in _entries(vocab, added):
        if not 0 <= index < vocab_size:
            raise UnableError(f"token id {index} of tokenizer.json is outside the vocabulary of {vocab_size:,}")
        tokens[index], types[index] = text, int(kind)
    return tokens, types


def _entries(vocab: Mapping[str, int], added: list[Mapping[str, Any]]) -> Iterator[tuple[str, int, TokenType]]:
    yield from ((text, index, TokenType.NORMAL) for text, index in vocab.items())
    for each in added:
        yield each["content"], each["id"], TokenType.CONTROL if each.get("special") else TokenType.USER_DEFINED


def _ends(processor: Mapping[str, Any] | None) -> _Ends:
    """Return the tokens that the template of a text begins and ends with."""
    steps = processor["processors"] if processor and processor["type"] == "Sequence" else [processor]
    for step in steps:
        if step and step["type"] == "TemplateProcessing":
            kinds = [next(iter(each)) for each in step["single"]]
            position = kinds.index("Sequence")
            if position > 1 or len(kinds) - position > 2:
                raise UnableError("tokenizer.json adds several tokens to a text")
            ids = [step["special_tokens"][each["SpecialToken"]["id"]]["ids"][0] for each in step["single"]
                   if "SpecialToken" in each]  # fmt: skip
            return _Ends(ids[0] if position else None, ids[-1] if len(kinds) - position > 1 else None)
        if step and step["type"] != "ByteLevel":
            raise UnableError(f"tokenizer.json has the post-processor {step['type']}")
    return _Ends(None, None)


def _first_id(value: Any, vocab_size: int) -> int | None:
    """Return a token id of a config.json, the first of several; None if there is none in the vocabulary."""
    index = value[0] if isinstance(value, list) and value else value
    return index if type(index) is int and 0 <= index < vocab_size else None
