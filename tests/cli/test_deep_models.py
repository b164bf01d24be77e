"""Commands on 100,000 layers or near a limit: each answers, or refuses, in little memory and time, without torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

LAYERS = 100_000
WIDTHS = f"vocab_size: 64\nd_model: 64\nn_heads: 4\nn_layers: {LAYERS}\nd_ff: 64\n"
WINDOWS = f"{WIDTHS}position: {{kind: rope}}\nattention: {{window: 16, window_pattern: LLLLLG}}\n"
MAX_MIB = 300
MAX_SECONDS = 4  # processor time: twice the documented limit, for slower machines

PROBE = """
import json, os, re, sys, time
from pathlib import Path
def leave(code):
    peak = int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
    found = {"torch": "torch" in sys.modules, "peak_mib": peak, "seconds": time.process_time()}
    Path("found.json").write_text(json.dumps(found))
    end(code)
end, os._exit = os._exit, leave
from tinylm_cli.__main__ import main
main()
"""

COMMANDS: dict[str, tuple[int, str]] = {
    "params deep.yaml --by tensor --format json": (0, '"name": "blocks.{0..99999}.ln_1.weight"'),
    "params deep.yaml --by tensor --expand --format json": (2, "more than 50,000"),
    "params deep.yaml --by tensor --expand": (2, "more than 50,000"),
    "params deep.yaml --by layer --expand --format csv": (2, "100,004 rows"),
    "show deep.yaml": (0, "n_layers: 100000"),
    "validate deep.yaml": (0, "valid"),
    "build deep.yaml --meta": (2, "1,600,004 parameter tensors"),
    "build deep.yaml --save out": (2, "1,600,004 parameter tensors"),
    "check deep.yaml": (2, "1,600,004 parameter tensors"),
    "forward deep.yaml --meta --random 1x2": (2, "1,600,004 parameter tensors"),
    "forward deep.yaml --meta --random 1x2 --set n_layers=1001": (2, "1,001 layers on the meta device would take"),
    "generate deep.yaml --tokens 1": (2, "1,600,004 parameter tensors"),
    "export deep.yaml -o out": (2, "1,600,004 parameter tensors"),
    "export deep.yaml -o full": (2, "tinylm did not export"),
    "export deep.yaml --config-only -o exported": (0, "2,5"),
    "lint deep.yaml": (1, ""),
}
"""A command, its exit code and a part of what it writes."""

COSTED = (
    "params deep.yaml --by tensor --format json",
    "show deep.yaml",
    "validate deep.yaml",
    "build deep.yaml --meta",
)
"""Commands that go through the layers of a pattern; the others count tensors as ``build`` does."""

NEAR_LIMITS: dict[str, tuple[int, str]] = {
    "params deep.yaml --by layer --expand --set n_layers=49990": (0, "1.26B parameters"),
    "sweep gpt-oss-20b n_layers=1..500": (0, "500"),
    "sweep gpt-oss-20b n_layers=1..501": (2, "the limit is 500"),
    "sweep jamba-v0.1 d_model=64..16000:64": (0, "16000"),
    "sweep jamba-v0.1 d_model=64..16064:64": (2, "with 3 kinds of layers, the limit is 250 configs"),
    "sweep kinds.yaml d_ff=1..7": (0, "7"),
    "sweep kinds.yaml d_ff=1..8": (2, "with 64 kinds of layers, the limit is 7 configs"),
    "compare kinds.yaml {seven}": (0, "64"),
    "compare kinds.yaml {seven} @n_layers=512": (2, "more than 500 kinds of layers in all"),
    "design --params 7B --top 500 --format json": (0, '"rank": 500'),
    "design --params 70B --family llama --gpu h100 --gpus 512 --top 500": (0, "500"),
    "design --params 70B --family gemma2 --tolerance 0.99": (2, "more than 70,000 of"),
    "compare {names} --gpu h100 --gpus 64": (0, "step time"),
    "compare {names} --gpu h100 --gpus 512": (2, "at most 4,000 are searched"),
    "estimate mixed.yaml --set n_layers=64 --attention-kernel math --gpu h100 --gpus 4096": (0, "fits"),
    "lint mixed.yaml --set n_layers=10001": (2, "10,001 layers"),
    "lint mixed.yaml --set n_layers=10000": (1, ""),
    "estimate mixed.yaml --attention-kernel math --gpu h100 --gpus 3072": (2, "at most 5,000 are searched"),
}
"""Commands whose work is close to what is refused; ``{names}`` and ``{seven}`` stand for 30 and for 6 models."""

MIXED = f"{WINDOWS}feed_forward: {{activation: silu, gated: true, n_experts: 64, top_k: 2, n_dense_layers: 3}}\n"


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of a process from /proc")
@pytest.mark.parametrize(
    ("config", "words"),
    [*((WIDTHS, words) for words in COMMANDS), *((WINDOWS, words) for words in COSTED)],
    ids=[*COMMANDS, *(f"windows: {words}" for words in COSTED)],
)
def test_answers_in_little_memory(config: str, words: str, folder: Path) -> None:
    (folder / "deep.yaml").write_text(config, encoding="utf-8")
    (folder / "full").mkdir()
    (folder / "full" / "config.json").write_text("{}", encoding="utf-8")
    check(folder, words, COMMANDS[words])


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of a process from /proc")
@pytest.mark.parametrize("words", NEAR_LIMITS)
def test_near_a_limit(words: str, folder: Path) -> None:
    (folder / "deep.yaml").write_text(WIDTHS, encoding="utf-8")
    (folder / "mixed.yaml").write_text(MIXED.replace(str(LAYERS), "96"), encoding="utf-8")
    kinds = "\n".join(f"    k{n}: {{d_ff: {n + 1}}}" for n in range(64))
    pattern = ", ".join(f"k{n}" for n in range(64))
    kinds = f"{WIDTHS}layers:\n  pattern: {pattern}\n  kinds:\n{kinds}\n".replace(str(LAYERS), "64")
    (folder / "kinds.yaml").write_text(kinds, encoding="utf-8")
    names = " ".join(["llama-3-8b", *(f"@n_layers={n}" for n in range(33, 62))])
    seven = " ".join(f"@n_layers={64 * n}" for n in range(2, 8))
    check(folder, words.replace("{names}", names).replace("{seven}", seven), NEAR_LIMITS[words])


def check(folder: Path, words: str, expected: tuple[int, str]) -> None:
    """Run a command, and check its exit code, a part of its output, its memory and its processor time."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *words.split()],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    code, part = expected
    assert done.returncode == code, done.stderr
    assert part in (done.stderr if code else done.stdout)
    found = json.loads((folder / "found.json").read_text(encoding="utf-8"))
    assert not found["torch"]
    assert found["peak_mib"] < MAX_MIB
    assert found["seconds"] < MAX_SECONDS
    assert not (folder / "out").exists()
