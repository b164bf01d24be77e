"""The optional package ``gguf``, which has the names and the format of GGUF files."""

from __future__ import annotations

from importlib.util import find_spec

from tinylm_cli.errors import UnableError


def require_gguf(purpose: str) -> None:
    """Raise if the package is not installed.

    Args:
        purpose: What needs it, such as ``the sizes of GGUF files``.

    Raises:
        UnableError: If it is not installed.
    """
    if find_spec("gguf") is None:
        raise UnableError(f"{purpose} need the package gguf", help="pip install 'tinylm-cli[gguf]'")
