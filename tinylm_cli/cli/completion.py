"""What bash needs beyond typer's completion: it breaks words at ``=`` and ``@``.

``--set norm.kind=rms`` comes as four, and ``compare small@n_lay`` as well.
"""

from __future__ import annotations

import contextlib
import io
import os
import shlex
from collections.abc import Callable

from tinylm_cli.cli.output import write_stdout

VARIABLE = "_TINYLM_COMPLETE"

_BREAKS = ("=", "@")


def completes_for_bash() -> bool:
    """Return whether this process was started by bash to complete a command line."""
    return os.environ.get(VARIABLE) == "complete_bash"


def complete_for_bash(answer: Callable[[], object]) -> int:
    """Let ``answer`` print completions of whole words, and print what bash is to put in place of its last piece.

    Bash passes its pieces, one a line, in ``COMP_WORDS``, and the index of the one to complete in ``COMP_CWORD``.
    """
    pieces = os.environ.get("COMP_WORDS", "").split("\n")
    index = os.environ.get("COMP_CWORD", "")
    words = _joined(pieces[: int(index) + 1] if index.isdigit() else pieces)
    os.environ["COMP_WORDS"] = shlex.join(words)
    os.environ["COMP_CWORD"] = str(len(words) - 1)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        answer()
    last = max(words[-1].rfind(sign) for sign in _BREAKS)
    broken_off = words[-1][: last + 1] if len(words) < len(pieces) else ""
    write_stdout("".join(f"{line.removeprefix(broken_off)}\n" for line in printed.getvalue().splitlines()))
    return 0


def _joined(pieces: list[str]) -> list[str]:
    words: list[str] = []
    for piece in pieces:
        if words and (piece in _BREAKS or words[-1].endswith(_BREAKS)):
            words[-1] += piece
        else:
            words.append(piece)
    return words
