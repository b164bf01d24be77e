"""Accelerators: the shipped table, user files, and errors in them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tinylm_cli.cli.wording import worded
from tinylm_cli.config.hardware import (
    CONTEXT_BYTES,
    GPU,
    PEAK_DTYPES,
    AcceleratorEntry,
    is_hardware,
    load_accelerators,
    load_hardware,
    parse_accelerators,
)
from tinylm_cli.config.presets import shipped
from tinylm_cli.config.source import MAX_BYTES, Source, read_source
from tinylm_cli.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
TABLE = ROOT / "configs" / "hardware" / "accelerators.yaml"

MINE = """\
workbench:
  title: The GPU under my desk
  aliases: [mine]
  memory_bytes: 48 GB
  memory_bytes_per_second: 1 TB/s
  peak_flops_per_second:
    float32: 50 TFLOP/s
    bfloat16: 200 TFLOP/s
  link_bytes_per_second: 32 GB/s
  gpus_per_node: 1
  network_bytes_per_second: 1 Gb/s
"""


@pytest.mark.parametrize(
    "name",
    [
        *("rtx-4090", "rtx-5090", "v100-16gb", "t4", "a10g", "l4", "l40s", "a100-40gb", "a100-80gb"),
        *("h100-pcie", "h100-sxm", "h200", "b200", "gb200", "mi250x", "mi300x", "mi325x", "mi355x"),
    ],
)
def test_common_gpus_are_listed(name: str) -> None:
    assert load_hardware(name).name == name


@pytest.mark.parametrize("name", load_accelerators())
def test_entries_are_consistent(name: str) -> None:
    each = load_accelerators()[name]
    assert each.name == name == name.lower()
    assert each.title.startswith(("NVIDIA ", "AMD "))
    assert each.link
    assert each.network
    assert re.fullmatch(r"https://\S+", each.source or "")
    assert re.fullmatch(r"20[0-9]{2}-(0[1-9]|1[0-2])", each.date or "")
    # a few percent of the board's memory are not usable
    assert each.usable_memory_bytes is not None
    assert 0.9 * each.memory_bytes < each.usable_memory_bytes < each.memory_bytes
    # links of a node are faster than what joins nodes, and slower than the memory
    assert each.network_bytes_per_second < each.link_bytes_per_second < each.memory_bytes_per_second
    assert each.one_peer_bytes_per_second in (each.link_bytes_per_second, each.peer_bytes_per_second)
    if each.peer_bytes_per_second is not None:  # a link for each pair, and all of them at once
        assert each.peer_bytes_per_second < each.link_bytes_per_second <= 7 * each.peer_bytes_per_second


@pytest.mark.parametrize("name", load_accelerators())
def test_peaks_double_per_halved_width(name: str) -> None:
    """A sparse figure among dense ones would stand out as a factor of four."""
    peaks = load_accelerators()[name].peaks
    assert list(peaks) == [dtype for dtype in PEAK_DTYPES if dtype in peaks]
    assert {"float32", "float16"} <= peaks.keys()
    assert peaks.get("bfloat16", peaks["float16"]) == peaks["float16"]
    if "tf32" in peaks:
        assert peaks["float16"] / peaks["tf32"] == pytest.approx(2, rel=0.03)
    if "float8" in peaks:
        assert peaks["float8"] / peaks["float16"] == pytest.approx(2, rel=0.03)
    if "int8" in peaks:
        ratio = peaks["int8"] / peaks["float16"]
        consumer, old = name.startswith("rtx"), name == "mi250x"
        assert ratio == pytest.approx(4 if consumer else 1 if old else 2, rel=0.03)


@pytest.mark.parametrize(
    ("name", "bfloat16", "bandwidth"),
    [
        ("a100-80gb", 312e12, 2.039e12),
        ("h100-sxm", 989.4e12, 3.35e12),
        ("h200", 989.4e12, 4.8e12),
        ("b200", 2250e12, 7.7e12),
        ("mi300x", 1307.4e12, 5.3e12),
        ("mi355x", 256 * 2.4e9 * 4096, 8e12),  # compute units, clock, operations of one in a cycle
        ("rtx-4090", 128 * 2.52e9 * 512, 384 / 8 * 21e9),  # likewise; bytes of the bus, transfers
    ],
)
def test_figures_as_published(name: str, bfloat16: float, bandwidth: float) -> None:
    each = load_hardware(name)
    assert each.peaks["bfloat16"] == pytest.approx(bfloat16, rel=1e-3)
    assert each.memory_bytes_per_second == pytest.approx(bandwidth, rel=1e-6)


def test_names_are_unique() -> None:
    table = load_accelerators()
    names = [*table, *(alias for each in table.values() for alias in each.aliases)]
    assert len(set(names)) == len(names)


def test_hardware_table_is_not_a_preset() -> None:
    assert "accelerators" not in shipped()
    assert TABLE.stat().st_size < MAX_BYTES / 8
    assert is_hardware(read_source(str(TABLE)))
    assert not any(is_hardware(read_source(str(path))) for path in shipped().values())


@pytest.mark.parametrize(("said", "name"), [("H100", "h100-sxm"), ("Mi300X", "mi300x"), ("a100", "a100-80gb")])
def test_names_and_aliases(said: str, name: str) -> None:
    assert load_hardware(said).name == name


def test_unknown_gpu() -> None:
    with pytest.raises(ConfigError, match=r"unknown GPU \"h10\"") as raised:
        load_hardware("h10")
    (error,) = raised.value.diagnostics
    assert (error.code, error.source) == ("unknown-gpu", GPU)
    assert error.span is not None
    assert (error.span.text, error.span.column, error.span.end_column) == ("h10", 1, 4)
    assert error.help == "did you mean h100?"
    with pytest.raises(ConfigError, match=r"did you mean rtx-4090\?"):
        load_hardware("rtx4090")
    for other in ("h800", "a6000"):  # other GPUs than h200 and a100
        with pytest.raises(ConfigError, match=other) as raised:
            load_hardware(other)
        assert "did you mean" not in raised.value.help
    with pytest.raises(ConfigError, match='unknown GPU "quantum"') as raised:
        load_hardware("quantum")
    assert "did you mean" not in raised.value.help
    assert all(name in raised.value.help for name in load_accelerators())


def test_hardware_file_overrides(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(MINE + MINE.replace("workbench", "H100-SXM").replace("mine", "h100"), encoding="utf-8")
    mine = load_hardware("MINE", str(path))
    assert (mine.name, mine.memory_bytes, mine.link, mine.source) == ("workbench", 48 * 10**9, None, None)
    assert mine.capacity_bytes == mine.memory_bytes - CONTEXT_BYTES
    assert mine.peaks == {"float32": 50 * 10**12, "bfloat16": 200 * 10**12}
    assert load_hardware("h100", str(path)).title == "The GPU under my desk"
    assert load_hardware("h200", str(path)).title.startswith("NVIDIA")
    assert load_hardware("h100").title.startswith("NVIDIA"), "and the table itself is as it was"


def test_usable_memory() -> None:
    each = load_hardware("h200")
    assert each.capacity_bytes + CONTEXT_BYTES == each.usable_memory_bytes != each.memory_bytes


WRONG = [
    ("memory_bytes: 48 GB", "memory_bytes: 48gb", "wrong-type@4:17", "write 48GB"),
    ("memory_bytes: 48 GB", "memory_bytes: 48 pounds", "wrong-type@4:17", "for example memory_bytes: 80 GiB"),
    ("memory_bytes: 48 GB", "memory_bytes: 0", "out-of-range@4:17", "for example memory_bytes: 80 GiB"),
    ("memory_bytes: 48 GB", "memry_bytes: 48 GB", "unknown-key@4:3", "did you mean memory_bytes?"),
    ("  memory_bytes: 48 GB\n", "", "missing-key@1:1", "add memory_bytes: 80 GiB (a size such as 24GiB or 80GB)"),
    ("bfloat16: 200 TFLOP/s", "bfloat16: 200 TFLOPS", "wrong-type@8:15", "write 200 TFLOP/s"),
    ("bfloat16", "bfloat61", "unknown-key@8:5", "did you mean bfloat16?"),
    ("bfloat16: 200 TFLOP/s", "title: x", "unknown-key@8:5", "did you mean title in workbench?"),
    ("bfloat16: 200 TFLOP/s", "color: red", "unknown-key@8:5", "expected one of float32, tf32, float16"),
    ("gpus_per_node: 1", "gpus_per_node: 1.0", "wrong-type@10:18", "write 1"),
    ("gpus_per_node: 1", "gpus_per_node: 0", "out-of-range@10:18", "for example gpus_per_node: 8"),
    ("gpus_per_node: 1", "color: red\n  gpus_per_node: 1", "unknown-key@10:3", "or the block peak_flops_per_second"),
    ("aliases: [mine]", "aliases: [mine, The GPU]", "wrong-type@3:19", "for example aliases: [h100]"),
    ("aliases: [mine]", "aliases: mine", "wrong-type@3:12", "for example aliases: [h100]"),
    ("title: The GPU under my desk", "title: 7", "wrong-type@2:10", 'write "7"'),
    ("1 Gb/s\n", "1 Gb/s\n  date: tomorrow\n", "wrong-type@12:9", "for example date: 2026-11"),
    ("1 Gb/s\n", "1 Gb/s\nWorkbench: {}\n", "duplicate-key@12:1", "remove one of them"),
    ("1 Gb/s\n", "1 Gb/s\nother: 80 GB\n", "wrong-type@12:8", "write its fields on separate lines"),
    ("1 Gb/s\n", "1 Gb/s\nother: *workbench\n", "alias@12:8", "write the value"),
    (MINE, "", "empty-document", "tinylm list --hardware"),
    (MINE, "# nothing\n", "empty-document", "tinylm list --hardware"),
    (MINE, "- workbench\n", "not-a-mapping@1:1", "maps the name of each GPU"),
    (MINE, "workbench: [\n", "yaml-syntax@1:12", "write one"),
]


@pytest.mark.parametrize(("right", "wrong", "place", "help_"), WRONG)
def test_errors(right: str, wrong: str, place: str, help_: str) -> None:
    assert right in MINE
    with pytest.raises(ConfigError) as raised:
        parse_accelerators(Source("mine.yaml", MINE.replace(right, wrong, 1)))
    (found,) = raised.value.diagnostics
    at = f"@{found.span.line}:{found.span.column}" if found.span else ""
    assert found.code + at == place
    assert help_ in worded(found.help)


def test_missing_block() -> None:
    text = re.sub(r"  peak_flops.*?(?=  link)", "", MINE, flags=re.DOTALL)
    with pytest.raises(ConfigError) as raised:
        parse_accelerators(Source("mine.yaml", text))
    (found,) = raised.value.diagnostics
    assert found.message == "workbench.peak_flops_per_second is missing"
    assert found.help.startswith("add float32: 66.9 TFLOP/s indented under peak_flops_per_second:")


def test_all_errors_at_once() -> None:
    text = MINE.replace("48 GB", "much").replace("gpus_per_node: 1", "gpus_per_node: one") + "other: {title: x}\n"
    with pytest.raises(ConfigError) as raised:
        parse_accelerators(Source("mine.yaml", text))
    fields = [found.field for found in raised.value.diagnostics]
    assert fields[:2] == ["workbench.memory_bytes", "workbench.gpus_per_node"]
    required = [name for name, info in AcceleratorEntry.model_fields.items() if info.is_required() and name != "title"]
    assert fields[2:] == [f"other.{name}" for name in required]


def test_is_hardware_with_errors() -> None:
    assert is_hardware(Source("x", "mine:\n  memory_bytes: much\n"))
    assert not is_hardware(Source("x", "vocab_size: 256\nattention: {bias: false}\n"))
    assert not is_hardware(Source("x", ""))
    assert not is_hardware(Source("x", "[1, 2]\n"))
