"""Interrupts end the command, but not within an atomic step."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tinylm_cli import atomic_write
from tinylm_cli.interrupts import interrupts_deferred


@pytest.fixture(autouse=True)
def handlers_restored() -> Iterator[None]:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield
    assert [signal.getsignal(number) for number in numbers] == before


def test_interrupt_is_deferred() -> None:
    reached: list[str] = []

    def work() -> None:
        with interrupts_deferred():
            os.kill(os.getpid(), signal.SIGINT)
            reached.append("the end")
        reached.append("what follows")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert reached == ["the end"]


def test_interrupt_of_a_failing_block() -> None:
    def work() -> None:
        with interrupts_deferred():
            os.kill(os.getpid(), signal.SIGINT)
            raise ImportError("half made")

    with pytest.raises(KeyboardInterrupt):
        work()


def test_allowed_part() -> None:
    reached: list[str] = []

    def work() -> None:
        with interrupts_deferred() as interrupts_allowed:
            os.kill(os.getpid(), signal.SIGINT)
            reached.append("deferred")
            try:
                with interrupts_allowed():
                    reached.append("interrupts_allowed")
            finally:
                os.kill(os.getpid(), signal.SIGINT)  # somebody is impatient
                reached.append("cleaned up")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert reached == ["deferred", "cleaned up"]


def test_second_interrupt_waits() -> None:
    """At every step out of the part, and not only once its end is reached."""
    reached: list[str] = []

    def work() -> None:
        with interrupts_deferred() as interrupts_allowed:
            try:
                with interrupts_allowed():
                    try:
                        os.kill(os.getpid(), signal.SIGINT)
                    finally:
                        os.kill(os.getpid(), signal.SIGINT)
                        reached.append("on the way out")
            finally:
                reached.append("the end")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert reached == ["on the way out", "the end"]


def test_handler_that_returns() -> None:
    came: list[int] = []
    before = signal.signal(signal.SIGHUP, lambda number, _: came.append(number))
    try:
        with interrupts_deferred() as interrupts_allowed:
            with interrupts_allowed():
                os.kill(os.getpid(), signal.SIGHUP)
                os.kill(os.getpid(), signal.SIGHUP)
                assert len(came) == 2
            os.kill(os.getpid(), signal.SIGHUP)
            assert len(came) == 2
        assert len(came) == 3
    finally:
        signal.signal(signal.SIGHUP, before)


def test_nested_blocks() -> None:
    reached: list[str] = []

    def work() -> None:
        with interrupts_deferred() as outer:
            with interrupts_deferred() as inner, inner():
                os.kill(os.getpid(), signal.SIGINT)
                reached.append("deferred by the outer one")
            with outer(), interrupts_deferred() as inner, inner():
                reached.append("not reached")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert reached == ["deferred by the outer one"]


def test_default_action() -> None:
    program = """
import os, signal
from tinylm_cli.interrupts import interrupts_deferred
with interrupts_deferred() as interrupts_allowed:
    os.kill(os.getpid(), signal.SIGTERM)
    print("deferred", flush=True)
    with interrupts_allowed():
        print("not reached", flush=True)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (-signal.SIGTERM, "deferred\n")


def test_ignored_signal() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interrupts_deferred():
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_other_thread() -> None:
    done: list[bool] = []

    def work() -> None:
        with interrupts_deferred():
            done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [True]


def run_main(work: str) -> tuple[int, str, str]:
    """Return how the command ends when its work is the function body ``work``."""
    program = f"""
import os, signal, time
import tinylm_cli.__main__ as command
import tinylm_cli.cli.app as app
def work(*_, **__):
{textwrap.indent(work, "    ")}
app.create_app = work
command.main()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_interrupt_in_a_callback(name: str, status: int) -> None:
    """Python discards exceptions raised in a finalizer, and in the callbacks of an import."""
    work = f"""
class Dying:
    def __del__(self):
        os.kill(os.getpid(), signal.{name})
Dying()
time.sleep(10)
print("not reached")
"""
    assert run_main(work) == (status, "", "")


@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_interrupt_converted_to_an_error(name: str, status: int) -> None:
    """As a module written in C does whose import is interrupted."""
    work = f"""
try:
    os.kill(os.getpid(), signal.{name})
except BaseException:
    pass
raise ImportError("no module of that name")
"""
    assert run_main(work) == (status, "", "")


def test_discarded_error_that_is_no_interrupt() -> None:
    work = """
class Dying:
    def __del__(self):
        raise ValueError("in a finalizer")
Dying()
raise KeyboardInterrupt
"""
    code, out, error = run_main(work)
    assert (code, out) == (130, "")
    assert "ValueError: in a finalizer" in error


def test_write_file_finishes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sync = os.fsync

    def interrupted(descriptor: int) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        atomic_write.write_file(tmp_path / "out", "whole\n", overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out").read_text(encoding="utf-8") == "whole\n"
