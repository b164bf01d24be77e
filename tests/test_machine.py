from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from tinylm_cli.errors import CapacityError
from tinylm_cli.machine import memory_limits, require_memory

MIB = 1 << 20


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def limits(root: Path) -> list[tuple[str, int]]:
    return [(limit.name, limit.available_bytes) for limit in memory_limits(root)]


def test_available_ram(tmp_path: Path) -> None:
    root = tree(tmp_path, {"proc/meminfo": "MemTotal:  16384 kB\nMemAvailable:  2048 kB\n"})
    assert limits(root) == [("RAM", 2 * MIB)]


def test_cgroup_v2(tmp_path: Path) -> None:
    group = "sys/fs/cgroup/outer/inner"
    root = tree(
        tmp_path,
        {
            "proc/self/cgroup": "0::/outer/inner\n",
            f"{group}/memory.max": f"{100 * MIB}\n",
            f"{group}/memory.current": f"{70 * MIB}\n",
            f"{group}/memory.stat": f"anon {40 * MIB}\ninactive_file {20 * MIB}\nactive_file {5 * MIB}\n",
            "sys/fs/cgroup/outer/memory.max": f"{80 * MIB}\n",
            "sys/fs/cgroup/outer/memory.current": f"{90 * MIB}\n",
        },
    )
    assert limits(root) == [("container limit", 55 * MIB), ("container limit", 0)]


def test_cgroup_without_a_limit(tmp_path: Path) -> None:
    group = "sys/fs/cgroup/memory/job"
    root = tree(
        tmp_path,
        {
            "proc/self/cgroup": "0::/job\n5:cpu,memory:/job\n",
            "sys/fs/cgroup/job/memory.max": "max\n",
            "sys/fs/cgroup/job/memory.current": "1\n",
            f"{group}/memory.limit_in_bytes": "9223372036854771712\n",
            f"{group}/memory.usage_in_bytes": "1\n",
            "proc/meminfo": "MemAvailable: 1 kB\n",
        },
    )
    assert limits(root) == [("RAM", 1024)]


def test_cgroup_v1(tmp_path: Path) -> None:
    group = "sys/fs/cgroup/memory/job"
    root = tree(
        tmp_path,
        {
            "proc/self/cgroup": "9:pids:/job\n5:memory:/job\n",
            f"{group}/memory.limit_in_bytes": f"{10 * MIB}\n",
            f"{group}/memory.usage_in_bytes": f"{8 * MIB}\n",
            f"{group}/memory.stat": f"inactive_file 1\ntotal_inactive_file {MIB}\ntotal_active_file 0\n",
        },
    )
    assert limits(root) == [("container limit", 3 * MIB)]


def test_cgroup_in_a_container(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        {
            "proc/self/cgroup": "0::/docker/0123abcd\n",
            "sys/fs/cgroup/memory.max": f"{10 * MIB}\n",
            "sys/fs/cgroup/memory.current": f"{4 * MIB}\n",
        },
    )
    assert limits(root) == [("container limit", 6 * MIB)]


def test_resource_limits(tmp_path: Path) -> None:
    header = "Limit                     Soft Limit           Hard Limit           Units     \n"
    root = tree(
        tmp_path,
        {
            "proc/self/status": "Name:\tpython\nVmSize:\t    1024 kB\nVmData:\t     512 kB\n",
            "proc/self/limits": header
            + f"Max data size             {MIB}              unlimited            bytes     \n"
            + "Max stack size            8388608              unlimited            bytes     \n"
            + f"Max address space         {3 * MIB}              unlimited            bytes     \n",
        },
    )
    assert limits(root) == [("RLIMIT_DATA", MIB // 2), ("RLIMIT_AS", 2 * MIB)]


def test_unlimited_resources(tmp_path: Path) -> None:
    line = "Max address space         unlimited            unlimited            bytes     \n"
    root = tree(
        tmp_path,
        {
            "proc/self/status": "VmSize: 1 kB\n",
            "proc/self/limits": line,
            "proc/meminfo": "MemAvailable: 1 kB\n",
        },
    )
    assert limits(root) == [("RAM", 1024)]


def test_installed_ram(tmp_path: Path) -> None:
    [(name, count)] = limits(tmp_path)
    assert name == "installed RAM"
    assert count > MIB


def test_no_known_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("os.sysconf")
    assert memory_limits(tmp_path) == ()
    require_memory(1 << 80, "anything", root=tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="reads this machine's own proc")
def test_this_machine() -> None:
    assert dict(limits(Path("/")))["RAM"] > MIB


def test_work_that_fits(tmp_path: Path) -> None:
    root = tree(tmp_path, {"proc/meminfo": "MemAvailable: 1 kB\n"})
    require_memory(1024, "building", root=root)
    with pytest.raises(CapacityError):
        require_memory(1025, "building", root=root)


def test_work_that_does_not_fit(tmp_path: Path) -> None:
    root = tree(tmp_path, {"proc/meminfo": "MemAvailable: 1536 kB\n"})
    with pytest.raises(CapacityError) as caught:
        require_memory(5 << 30, "building 7 parameters in float32", root=root)
    message = "building 7 parameters in float32 needs 5.00 GiB, but only 1.50 MiB is available (RAM)"
    assert caught.value.message == message
    assert caught.value.help == "choose a smaller model or dtype, or free some memory"


@pytest.mark.parametrize(("device", "refused"), [("cpu", True), ("mps", True), ("cuda", False), ("meta", False)])
def test_devices(device: str, refused: bool, tmp_path: Path) -> None:
    root = tree(tmp_path, {"proc/meminfo": "MemAvailable: 1 kB\n"})
    with pytest.raises(CapacityError) if refused else nullcontext():
        require_memory(1 << 20, "anything", device=device, root=root)
