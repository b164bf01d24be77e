"""The sizes of ggml's types against the package ``gguf``."""

from __future__ import annotations

from gguf.constants import GGML_QUANT_SIZES

from tinylm_cli.config.ggml_types import GGML_TYPES

PLAIN = {"F32", "F16", "BF16", "F64", "I8", "I16", "I32", "I64"}


def test_sizes_of_types() -> None:
    listed = {kind.name.lower(): sizes for kind, sizes in GGML_QUANT_SIZES.items() if kind.name not in PLAIN}
    assert {name: tuple(each) for name, each in GGML_TYPES.items()} == listed
