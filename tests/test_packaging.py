"""The wheel, the source archive and the editable install: contents and requirements."""

from __future__ import annotations

import email
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tinylm_cli import __version__
from tinylm_cli.config.presets import gallery

ROOT = Path(__file__).resolve().parents[1]
NAME = f"tinylm_cli-{__version__}"
PRESETS = ("base", "medium", "small", "tiny")
GALLERY = sorted(f"{name}.yaml" for name in gallery())


class Built(NamedTuple):
    """A checkout, and what was built from it."""

    checkout: Path
    wheel: Path
    sdist: Path


def run(*command: str | Path, cwd: Path, env: dict[str, str] | None = None) -> str:
    """Run a command that must succeed, without a network, and return its output."""
    environment = {"PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "LC_ALL": "C.UTF-8", "COLUMNS": "80"}
    environment |= env or {}
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, capture_output=True, text=True, env=environment, timeout=300, check=False
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}"
    return done.stdout


def install(what: Path, folder: Path, *how: str) -> Path:
    """Install into a new environment that sees the dependencies of this one, and return its ``tinylm``."""
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=ROOT)
    python = folder / "bin" / "python"
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip())
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-build-isolation")
    run(*pip, *how, what, cwd=folder)
    return folder / "bin" / "tinylm"


def presets(tinylm: Path, elsewhere: Path, *which: str) -> dict[str, dict[str, Any]]:
    """Return what ``tinylm list`` finds, asked from another folder."""
    elsewhere.mkdir(exist_ok=True)
    found = json.loads(run(tinylm, "list", *which, "--format", "json", cwd=elsewhere))["presets"]
    return {preset["name"]: preset for preset in found}


def copy_checkout(folder: Path) -> Path:
    """Copy what git tracks, or would track, into a folder, and return it."""
    ignored = shutil.ignore_patterns(".*cache*", "__pycache__", ".venv", ".git", ".hypothesis", "dist")
    shutil.copytree(ROOT, folder, ignore=ignored, dirs_exist_ok=True)
    return folder


def build(checkout: Path, env: dict[str, str] | None = None) -> Built:
    """Build as a release is built: the source archive from a checkout, and the wheel from that archive."""
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", "dist", ".", cwd=checkout, env=env)
    return Built(checkout, checkout / "dist" / f"{NAME}-py3-none-any.whl", checkout / "dist" / f"{NAME}.tar.gz")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build(copy_checkout(tmp_path_factory.mktemp("checkout")))


def test_wheel_contents(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as archive:
        names = set(archive.namelist())
        metadata = email.message_from_bytes(archive.read(f"{NAME}.dist-info/METADATA"))
        commands = archive.read(f"{NAME}.dist-info/entry_points.txt").decode()
    package = {str(path.relative_to(ROOT)) for path in (ROOT / "tinylm_cli").rglob("*.py")}
    assert package | {"tinylm_cli/py.typed"} <= names
    shipped = {f"tinylm_cli/configs/{name}.yaml" for name in PRESETS} | {"tinylm_cli/configs/tinylm.schema.json"}
    shipped |= {f"tinylm_cli/configs/gallery/{name}" for name in (*GALLERY, "index.csv")}
    shipped |= {"tinylm_cli/configs/hardware/accelerators.yaml"}
    assert {name for name in names if "/configs/" in name} == shipped
    assert {"tinylm_cli/examples/train.py", "tinylm_cli/examples/model_demo.py"} <= names
    assert {name.split("/")[0] for name in names} == {"tinylm_cli", f"{NAME}.dist-info"}
    assert f"{NAME}.dist-info/licenses/LICENSE" in names
    assert (metadata["Name"], metadata["Version"], metadata["Requires-Python"]) == ("tinylm-cli", __version__, ">=3.11")
    assert "tinylm = tinylm_cli.__main__:main" in commands
    required = [line.split(";")[0] for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert {word.partition(">")[0].partition("<")[0].strip() for word in required} == {
        "torch",
        "typer",
        "rich",
        "pydantic",
        "ruamel-yaml",
        "safetensors",
        "numpy",
    }


def test_sdist_contents(built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        names = {name.removeprefix(f"{NAME}/") for name in archive.getnames()}
    for needed in ("pyproject.toml", "README.md", "LICENSE", "configs/tiny.yaml", "tests/test_packaging.py"):
        assert needed in names
    assert not [name for name in names if name.startswith((".venv", ".git/", "dist/")) or "__pycache__" in name]


def test_builds_are_reproducible(built: Built, tmp_path: Path) -> None:
    """Builds of two checkouts are identical, independent of folder, file times and modes, time zone and hash seed."""
    checkout = copy_checkout(tmp_path / "elsewhere")
    for path in sorted(checkout.rglob("*.py"), reverse=True):
        os.utime(path, (10**9, 10**9))
        path.chmod(0o600)
    again = build(checkout, {"TZ": "Asia/Kathmandu", "PYTHONHASHSEED": "1"})
    assert again.sdist.read_bytes() == built.sdist.read_bytes()
    assert again.wheel.read_bytes() == built.wheel.read_bytes()


def test_source_date_epoch(built: Built, tmp_path: Path) -> None:
    """SOURCE_DATE_EPOCH is the time of every file; without it hatchling takes a constant."""
    dated = build(copy_checkout(tmp_path / "elsewhere"), {"SOURCE_DATE_EPOCH": "1750000000"})
    with tarfile.open(dated.sdist) as archive:
        assert {member.mtime for member in archive} == {1_750_000_000}
    with zipfile.ZipFile(dated.wheel) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(2025, 6, 15, 15, 6, 40)}
    assert dated.wheel.read_bytes() != built.wheel.read_bytes()


def test_installed_command(built: Built, tmp_path: Path) -> None:
    """The wheel is built from the source archive, as an installation from that archive builds it."""
    tinylm = install(built.wheel, tmp_path / "environment")
    found = presets(tinylm, tmp_path / "elsewhere")
    assert sorted(found) == list(PRESETS)
    assert found["small"]["total_params"] == 4_995_072
    code = "from tinylm_cli.cli.next_steps import training_script; print(training_script())"
    script = Path(run(tinylm.with_name("python"), "-c", code, cwd=tmp_path / "elsewhere").strip())
    assert script.is_relative_to(tmp_path / "environment")
    assert script.read_bytes() == (ROOT / "examples" / "train.py").read_bytes()
    published = presets(tinylm, tmp_path / "elsewhere", "--gallery")
    assert [f"{name}.yaml" for name in published] == sorted(GALLERY, key=lambda name: name.removesuffix(".yaml"))
    found |= published
    hardware = json.loads(run(tinylm, "list", "--hardware", "--format", "json", cwd=tmp_path))["accelerators"]
    assert "h100-sxm" in {accelerator["name"] for accelerator in hardware}
    for preset in found.values():
        assert Path(preset["path"]).is_relative_to(tmp_path / "environment"), "and not those of some checkout"
    assert run(tinylm, "--version", cwd=tmp_path) == f"tinylm {__version__}\n"
    python = tmp_path / "environment" / "bin" / "python"
    assert run(python, "-m", "tinylm_cli", "list", cwd=tmp_path) == run(tinylm, "list", cwd=tmp_path)


def test_editable_install(built: Built, tmp_path: Path) -> None:
    tinylm = install(built.checkout, tmp_path / "environment", "--editable")
    assert presets(tinylm, tmp_path / "elsewhere")["small"]["n_layers"] == 6
    small = built.checkout / "configs" / "small.yaml"
    before = small.read_text(encoding="utf-8")
    try:
        small.write_text(before.replace("n_layers: 6", "n_layers: 7"), encoding="utf-8")
        (built.checkout / "configs" / "mine.yaml").write_text(before, encoding="utf-8")
        found = presets(tinylm, tmp_path / "elsewhere")
        assert found["small"]["n_layers"] == 7
        assert found["mine"]["n_layers"] == 6
        assert found["small"]["path"] == str(small)
    finally:
        small.write_text(before, encoding="utf-8")
        (built.checkout / "configs" / "mine.yaml").unlink()
    assert not list((tmp_path / "environment").rglob("small.yaml")), "there is no copy to go stale"


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
OPTIONAL = PROJECT["project"]["optional-dependencies"]
REQUIRED = [
    Requirement(line)
    for line in (*PROJECT["build-system"]["requires"], *PROJECT["project"]["dependencies"], *OPTIONAL["dev"])
]
LOCK = ROOT / "requirements-dev.lock"


@pytest.mark.parametrize("requirement", [*REQUIRED, *map(Requirement, OPTIONAL["tokenizers"])], ids=str)
def test_bounds(requirement: Requirement) -> None:
    """Each dependency has the oldest release that was tried, and ends before the first that was not."""
    assert [part.operator for part in sorted(requirement.specifier, key=str)] == ["<", ">="]


def locked() -> dict[str, str]:
    """Return the version of each package of the lock file, which states the hashes of its archives."""
    text = LOCK.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    pins = [
        re.fullmatch(r"([a-z0-9-]+)==([^ ;]+)( ; [^\\]+?)?((?: +--hash=sha256:[0-9a-f]{64})+)", line) for line in lines
    ]
    assert all(pins), [line[:80] for line, pin in zip(lines, pins, strict=True) if not pin]
    return {pin[1]: pin[2] for pin in pins if pin}


def test_lock() -> None:
    """Each direct dependency is pinned within its bounds, but torch: its build depends on the machine."""
    pins = locked()
    assert len(pins) > len(REQUIRED)
    for requirement in REQUIRED:
        name = canonicalize_name(requirement.name)
        if name != "torch":
            assert requirement.specifier.contains(pins[name]), f"{requirement}, but {pins[name]} is locked"
    assert "torch" not in pins
    assert not [name for name in pins if name.startswith(("nvidia", "cuda", "triton"))]


def test_range_of_torch() -> None:
    """The pages that install torch first name the range of pyproject.toml."""
    (torch,) = (requirement for requirement in REQUIRED if requirement.name == "torch")
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
    ranges = re.findall(r"\btorch([<>=][^'\"`]*)", "".join(page.read_text(encoding="utf-8") for page in pages))
    assert len(ranges) >= 3
    for stated in ranges:
        assert Requirement(f"torch{stated}").specifier == torch.specifier, stated
