"""Writing to standard output: an error of the system is about it only if writing caused the error."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tinylm_cli.cli.app import run as run_command
from tinylm_cli.cli.streams import StdoutError

Here = Callable[..., Any]


class TestWhoFailed:
    """An error of the system is about standard output only where it came from writing to it."""

    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EBADF, errno.EDQUOT])
    def test_other_os_errors(self, number: int, here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_: object, **__: object) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr("tinylm_cli.analysis.params.analyze_params", fail)
        result = here("build", "--config", "toy.yaml")
        assert (result.code, result.out) == (2, "")
        assert result.err.startswith("error: unexpected OSError: ")

    @pytest.mark.parametrize(
        "arguments", [["list"], ["--version"], ["--help"], ["list", "--help"], ["list", "--output", "-"]], ids=" ".join
    )
    def test_stdout_errors(self, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(_text: str) -> int:
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))

        monkeypatch.setattr(sys.stdout, "write", fail)
        with pytest.raises(StdoutError, match="not connected"):
            run_command(arguments)
