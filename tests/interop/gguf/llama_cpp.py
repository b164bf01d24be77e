"""llama.cpp itself, as an independent check: the type that it gives each tensor, and its logits."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path

import pytest

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
