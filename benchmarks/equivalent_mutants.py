"""Mutants that change nothing a test could see, for ``mutants.py``."""

from __future__ import annotations

EQUIVALENT: dict[tuple[str, str, str, int], str] = {}
"""Why each changes nothing: by module, function, change, and its number among the same changes of that function."""
