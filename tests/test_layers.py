"""Rules of the package: imports between subpackages, printing, and imports of torch."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
import typer

from tinylm_cli.cli.app import create_app

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "tinylm_cli"
MODULES = sorted(PACKAGE.rglob("*.py"))

MAY_IMPORT: dict[str, set[str]] = {
    "wording": set(),
    "errors": {"wording"},
    "interrupts": set(),
    "quantities": set(),
    "regular_file": set(),
    "safetensors_header": set(),
    "gguf_header": {"safetensors_header"},
    "shell_quoting": set(),
    "atomic_write": {"errors", "interrupts", "shell_quoting"},
    "machine": {"errors", "quantities"},
    "config": {"wording", "errors", "quantities", "regular_file", "shell_quoting"},
    "reports": {"wording", "errors", "config"},
    "analysis": {"wording", "errors", "quantities", "config", "reports"},
    "interop": {
        *("wording", "errors", "quantities", "regular_file", "safetensors_header", "shell_quoting", "config"),
        "gguf_header",
        "reports",
    },
    "interop/weights": {"errors", "safetensors_header", "atomic_write", "config", "reports", "interop", "model"},
    "model": {
        *("errors", "regular_file", "safetensors_header", "interrupts", "quantities", "config", "reports", "machine"),
        "atomic_write",
    },
    "render": {"wording", "errors", "quantities", "config", "reports"},
    "cli": {
        "wording",
        "errors",
        "interrupts",
        "quantities",
        "regular_file",
        "shell_quoting",
        "config",
        "reports",
        "machine",
        "atomic_write",
        "analysis",
        "interop",
        "model",
        "render",
    },
    "__main__": {"errors", "interrupts", "cli"},
    "api": {
        *("wording", "errors", "quantities", "atomic_write", "config", "reports", "analysis", "interop", "model"),
        "render",
    },
    "__init__": {"errors", "config", "model", "render", "api"},
}
"""Subpackages that each subpackage may import, besides itself and the version in the package."""

HEAVY = {"torch", "safetensors", "numpy", "transformers"}


def subpackage(path: Path) -> str:
    """Return the subpackage a module lies in: a folder of the package, or the module itself."""
    parts = path.relative_to(PACKAGE).parts
    return "interop/weights" if parts[:2] == ("interop", "weights") else parts[0].removesuffix(".py")


def parsed(path: Path) -> ast.Module:
    """Return the syntax tree of a module. It is not cached: garbage collection of many trees takes seconds."""
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports(path: Path) -> tuple[tuple[str, bool, bool], ...]:
    """Return each imported module, whether importing this one imports it, and whether only a type checker does."""
    return tuple(_imports(parsed(path), path, at_once=True, for_types=False))


def _imports(parent: ast.AST, path: Path, *, at_once: bool, for_types: bool) -> Iterator[tuple[str, bool, bool]]:
    for node in ast.iter_child_nodes(parent):
        if isinstance(node, ast.Import):
            yield from ((alias.name, at_once, for_types) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import"
            yield node.module or "", at_once, for_types
        elif isinstance(node, ast.stmt | ast.excepthandler | ast.match_case):  # no expression contains an import
            is_checked = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
            is_at_once = at_once and not is_checked and not isinstance(node, ast.FunctionDef)
            yield from _imports(node, path, at_once=is_at_once, for_types=for_types or is_checked)


def relative_name(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def modules_of(one: str) -> list[Path]:
    return [path for path in MODULES if subpackage(path) == one]


@pytest.mark.parametrize("own", MAY_IMPORT)
def test_allowed_imports(own: str) -> None:
    for path in modules_of(own):
        for name, _, _ in imports(path):
            package, _, rest = name.partition(".")
            if package != "tinylm_cli" or not rest:
                continue
            other = rest.partition(".")[0]
            assert other == own or other in MAY_IMPORT[own], f"{relative_name(path)} imports {name}"


def test_every_subpackage_has_a_rule() -> None:
    assert {subpackage(path) for path in MODULES} == MAY_IMPORT.keys()
    for one in ("analysis", "model", "render"):
        assert not {"analysis", "model", "render"} & MAY_IMPORT[one], "they never import each other"


@pytest.mark.parametrize("own", sorted(MAY_IMPORT.keys() - {"model", "interop/weights"}))
def test_torch_imports(own: str) -> None:
    """The command line may import it, inside a function, once a model is wanted."""
    for path in modules_of(own):
        for name, at_once, for_types in imports(path):
            if name.partition(".")[0] in HEAVY or name.startswith(("tinylm_cli.model", "tinylm_cli.interop.weights")):
                assert own in ("cli", "api", "__init__"), f"{relative_name(path)} imports {name}"
                assert for_types or not at_once, f"{relative_name(path)} imports {name} for every command"


def test_no_import_cycles() -> None:
    """Imports inside functions and for types count, too."""
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in MODULES
    }
    graph = {
        name: {other for other, _, _ in imports(path) if other in modules} - {name} for name, path in modules.items()
    }
    assert list(TopologicalSorter(graph).static_order())


def _writes(path: Path) -> Iterator[str]:
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called in ("print", "sys.stdout.write", "sys.stderr.write", "typer.echo", "typer.secho"):
                yield called
        if isinstance(node, ast.Attribute) and ast.unparse(node) in ("sys.stdout.buffer", "sys.stderr.buffer"):
            yield ast.unparse(node)


@pytest.mark.parametrize("own", sorted(MAY_IMPORT.keys() - {"cli", "__main__"}))
def test_printing(own: str) -> None:
    """Rendering returns text; whoever computes returns a report."""
    assert not {relative_name(path): found for path in modules_of(own) if (found := list(_writes(path)))}


def _texts(path: Path) -> Iterator[str]:
    """Yield the string literals of a module, without docstrings."""
    tree = parsed(path)
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value


def test_options_and_commands_are_named_in_cli() -> None:
    """Elsewhere, a text refers to them as ``wording.Setting`` and ``wording.Command``."""
    commands = vars(typer.main.get_command(create_app()))["commands"]
    options = {name for command in commands.values() for parameter in command.params for name in parameter.opts}
    assert {"--set", "--gpu", "--full"} <= options
    command = re.compile(rf"\btinylm ({'|'.join(commands)})\b")

    def names_one(text: str) -> bool:
        words = re.findall(r"(?<![\w-])--[a-z][a-z-]*", text)
        begun = [word for word in words if word.endswith("-")]  # the rest is a variable
        return bool(
            options & {*words} or command.search(text) or any(name.startswith(tuple(begun)) for name in options)
        )

    assert names_one("add --gpu NAME")
    assert names_one("see tinylm list")
    assert names_one("--serving-")
    outside = [path for path in MODULES if subpackage(path) not in ("cli", "__main__")]
    assert not {relative_name(path): found for path in outside if (found := list(filter(names_one, _texts(path))))}


COMMANDS = {
    "--help": ([], 0),
    "--version": ([], 0),
    "list": ([], 0),
    "params": (["--config", "toy.yaml", "--by", "tensor"], 0),
    "estimate": (["--config", "llama-3-8b", "--by", "layer", "--gpu", "h100", "--gpus", "2"], 0),
    "sweep": (["toy.yaml", "n_layers=1..3"], 0),
    "design": (["--params", "1M"], 1),
    "compare": (["toy.yaml", "tiny", "@n_layers=8"], 0),
    "import": (["hub", "--format", "markdown"], 0),
    "validate": (["toy.yaml", "wrong.yaml"], 1),
    "verify": (["hub"], 2),
    "lint": (["toy.yaml", "--tp", "3"], 1),
    "schema": (["--format", "markdown"], 0),
    "show": (["--config", "toy.yaml", "--origin"], 0),
    "new": (["mine"], 0),
    "export": (["toy.yaml", "--config-only", "-o", "exported"], 0),
    "build": (["--help"], 0),
    "generate": (["--tokens", "256"], 2),
    "forward": (["--random", "99999999x1024"], 2),
    "check": (["--config", "absent"], 2),
}
"""Arguments of each command that must not import torch, some with errors, and the exit code."""

PROBE = """
import json, sys
from tinylm_cli.__main__ import _skip_pydantic_plugins
_skip_pydantic_plugins()
from tinylm_cli.cli.app import run
commands, unwanted = json.loads(sys.argv[1])
found = {}
for words in commands:
    code = run(words)
    found[words[0]] = [int(code), [name for name in unwanted if name in sys.modules]]
print("\\n" + json.dumps(found))
"""

UNWANTED = [*sorted(HEAVY), "email", "rich.console", "rich.markdown", "rich.table", "asyncio", "http", "ssl"]
"""``rich.console`` costs as much as all of tinylm, and a pipe has no use for it."""


def test_commands_without_torch(tmp_path: Path) -> None:
    toy = "vocab_size: 256\nd_model: 8\nn_heads: 2\nn_layers: 3\nd_ff: 16\n"
    (tmp_path / "toy.yaml").write_text(toy, encoding="utf-8")
    (tmp_path / "wrong.yaml").write_text("d_model: many\n", encoding="utf-8")
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "config.json").write_text('{"model_type": "llama"}', encoding="utf-8")
    commands = [[command, *words] for command, (words, _) in COMMANDS.items()]
    done = subprocess.run(
        [sys.executable, "-c", PROBE, json.dumps([commands, UNWANTED])],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={"LC_ALL": "C.UTF-8", "COLUMNS": "80"},
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == {command: [code, []] for command, (_, code) in COMMANDS.items()}


def test_import_of_the_package() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import tinylm_cli"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    loaded = [line.rpartition("|")[2].strip() for line in done.stderr.splitlines()]
    assert loaded[-1] == "tinylm_cli"
    assert not any(name.startswith(("pydantic", "typer", "torch", "rich")) for name in loaded)
