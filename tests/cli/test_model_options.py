"""Models too large for this machine are rejected before anything is built, with remedies for the command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tinylm_cli.analysis.cpu_memory import decode_bytes, forward_bytes
from tinylm_cli.analysis.params import weights_bytes
from tinylm_cli.interop.load import load_config
from tinylm_cli.machine import MemoryLimit
from tinylm_cli.model import TinyTransformerLM

Here = Callable[..., Any]
Allow = Callable[[int], None]

WIDE = ("--config", "toy.yaml", "--set", "d_model=64", "--set", "d_ff=256")
"""The toy, wide enough that a pass needs less memory than its weights."""

HAVE_META = {"build": True, "forward": True, "generate": False, "check": False}


@pytest.fixture
def allow(here: Here, monkeypatch: pytest.MonkeyPatch) -> Allow:
    """Return a function that sets the free memory of this machine, and makes building a model fail."""
    here("build", *WIDE, "--save", "model")

    def leave(available_bytes: int) -> None:
        limits = (MemoryLimit("RAM", available_bytes),)
        monkeypatch.setattr("tinylm_cli.machine.memory_limits", lambda _root: limits)
        monkeypatch.setattr(TinyTransformerLM, "_assemble", lambda *_: pytest.fail("went on"))

    return leave


@pytest.mark.parametrize("source", [WIDE, ("--weights", "model")], ids=" ".join)
@pytest.mark.parametrize("command", HAVE_META)
def test_model_too_large(command: str, source: tuple[str, ...], here: Here, allow: Allow) -> None:
    allow(300_000)
    result = here(command, *source, columns=200)
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("error: building ")
    assert ("--meta" in result.err) == HAVE_META[command]


@pytest.mark.parametrize("command", ["build", "forward"])
def test_meta_loads_no_weights(command: str, here: Here) -> None:
    here("build", "--config", "toy.yaml", "--save", "model")
    result = here(command, "--meta", "--weights", "model")
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("error: --meta loads no weights, so --weights has no effect\n  = help: remove one")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["forward", "--random", "1x4"], "building toy and a forward pass of 1 × 4 tokens needs "),
        (["forward", "--random", "20x32"], "a forward pass of 20 × 32 tokens needs "),
        (["generate", "-n", "10"], "building toy and decoding 12 tokens needs "),
        (["generate", "-n", "1000"], "building toy and decoding 32 tokens needs "),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_work_counts(words: list[str], told: str, here: Here, allow: Allow) -> None:
    allow(680_000)  # the model has 166,464 parameters and a table of 2,048 values
    result = here(*words, *WIDE, columns=200)
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith(f"error: {told}")


@pytest.mark.parametrize(
    ("words", "batch_size", "seq_len", "max_new_tokens"),
    [
        (["forward", "--tokens", "1,2,3,4,5,6,7"], 1, 7, 0),
        (["forward", "--tokens", "1"], 1, 1, 0),
        (["forward", "--text", "Hello"], 1, 5, 0),
        (["forward", "--random", "3x8"], 3, 8, 0),
        (["generate", "--tokens", "1,2,3", "-n", "4"], 1, 3, 4),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_exact_need(
    words: list[str], batch_size: int, seq_len: int, max_new_tokens: int, here: Here, allow: Allow, folder: Path
) -> None:
    """Weights and work count once each: memory for both is enough, and one byte less is not."""
    config = load_config(str(folder / "toy.yaml"), ["d_model=64", "d_ff=256"]).config
    if max_new_tokens:
        work = decode_bytes(config, prompt_len=seq_len, max_new_tokens=max_new_tokens, dtype="float32")
    else:
        work = forward_bytes(config, batch_size=batch_size, seq_len=seq_len, dtype="float32")
    need = weights_bytes(config, "float32") + work
    allow(need)
    with pytest.raises(pytest.fail.Exception, match="went on"):
        here(*words, *WIDE)
    allow(need - 1)
    result = here(*words, *WIDE, columns=200)
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("error: building toy and ")
