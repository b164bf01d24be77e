"""llama.cpp itself, as an independent check: the type that it gives each tensor, and its logits."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

_LINE = re.compile(
    r"\[ *\d+/ *\d+\] (?P<name>\S+) +- \[[\d, ]+\], type = +(?P<old>\w+), "
    r"size = +[\d.]+ MiB(?: -> +[\d.]+ MiB \((?P<new>\w+)\))?"
)
"""A line that a quantization without output logs for a tensor."""

REASON = "llama-cpp-python is not installed; CONTRIBUTING.md says how to install it"
"""Why a test that needs llama.cpp is skipped."""


def planned_types(path: Path, number: int, *, has_importance_matrix: bool = False) -> dict[str, str]:
    """Return the type that ``llama-quantize --dry-run`` gives each tensor of a file, by name.

    Args:
        path: A GGUF file in float types.
        number: The type of the file to write, as a number of ``enum llama_ftype``.
        has_importance_matrix: Whether an importance matrix is given; the plan does not read its values.
    """
    llama = pytest.importorskip("llama_cpp", reason=REASON).llama_cpp
    lines: list[str] = []
    callback = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(
        lambda _, text, __: lines.append(text.decode())
    )
    params = llama.llama_model_quantize_default_params()
    params.ftype, params.dry_run, params.nthread = number, True, 1
    no_entries = (llama.llama_model_imatrix_data * 1)()  # the first entry without a name ends the list
    if has_importance_matrix:
        params.imatrix = no_entries
    llama.llama_log_set(callback, None)
    try:
        status = llama.llama_model_quantize(str(path).encode(), b"", ctypes.byref(params))
    finally:
        llama.llama_log_set(type(callback)(), None)  # a null pointer: the log of the library itself
    log = "".join(lines)
    assert status == 0, log
    return {found["name"]: (found["new"] or found["old"]).upper() for found in _LINE.finditer(log)}


def logits(path: Path, tokens: Sequence[int]) -> NDArray[np.float32]:
    """Return the logits that llama.cpp computes for each of the tokens, with keys and values in float32; (T, V)."""
    llama = pytest.importorskip("llama_cpp", reason=REASON).llama_cpp
    model = llama.llama_model_load_from_file(str(path).encode(), llama.llama_model_default_params())
    assert model, f"llama.cpp cannot load {path}"
    params = llama.llama_context_default_params()
    params.n_ctx, params.n_batch, params.n_ubatch, params.n_threads = 64, 64, 64, 1
    params.type_k = params.type_v = llama.GGML_TYPE_F32
    params.flash_attn_type = llama.LLAMA_FLASH_ATTN_TYPE_DISABLED
    context = llama.llama_init_from_model(model, params)
    batch = llama.llama_batch_init(len(tokens), 0, 1)
    try:
        batch.n_tokens = len(tokens)
        for index, token in enumerate(tokens):
            batch.token[index], batch.pos[index], batch.logits[index] = token, index, True
            batch.n_seq_id[index], batch.seq_id[index][0] = 1, 0
        assert llama.llama_decode(context, batch) == 0
        n_vocab = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(model))
        rows = [
            np.ctypeslib.as_array(llama.llama_get_logits_ith(context, index), (n_vocab,))
            for index in range(len(tokens))
        ]
        return np.stack([np.ctypeslib.as_array(row, (n_vocab,)) for row in rows])
    finally:
        llama.llama_batch_free(batch)
        llama.llama_free(context)
        llama.llama_model_free(model)


def token_ids(path: Path, texts: Sequence[str]) -> list[list[int]]:
    """Return the ids of each text as llama.cpp tokenizes it, special tokens in the text and around it included."""
    llama = pytest.importorskip("llama_cpp", reason=REASON).llama_cpp
    params = llama.llama_model_default_params()
    params.vocab_only = True
    model = llama.llama_model_load_from_file(str(path).encode(), params)
    assert model, f"llama.cpp cannot load the vocabulary of {path}"
    try:
        vocab, found = llama.llama_model_get_vocab(model), []
        for text in texts:
            data, ids = text.encode(), (llama.llama_token * 1000)()
            n_ids = llama.llama_tokenize(vocab, data, len(data), ids, 1000, True, True)
            assert n_ids >= 0, text
            found.append(list(ids[:n_ids]))
        return found
    finally:
        llama.llama_model_free(model)
