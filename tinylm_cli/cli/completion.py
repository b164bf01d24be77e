"""Shell completion: the completions of option values, scripts by shell, and arguments that bash splits.

Bash passes ``--set norm.kind=rms`` as four arguments, and ``compare small @n_lay`` as four.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

from tinylm_cli.cli.streams import print_line, write_stdout
from tinylm_cli.errors import UsageError

VARIABLE = "_TINYLM_COMPLETE"

SHELLS = ("bash", "zsh", "fish", "powershell", "pwsh")

_BREAKS = ("=", "@")
_SHOW, _INSTALL = "--show-completion", "--install-completion"

_BASH = """\
_tinylm_completion() {
    local IFS=$'\\n'
    COMPREPLY=( $( env COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD _TINYLM_COMPLETE=complete_bash "$1" ) )
    # no space after a field without a value, or after a folder
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[=/] ]] && compopt -o nospace 2> /dev/null
    return 0
}

complete -o default -F _tinylm_completion tinylm
"""
"""typer's script for bash, without the space after ``n_layers=``."""


def run_completion_option(arguments: Sequence[str]) -> int | None:
    """Show or install the script of the named or running shell; None if neither option is given.

    Raises:
        UsageError: If no script is known for the shell.
    """
    option, _, shell = (arguments[0] if arguments else "").partition("=")
    if option not in (_SHOW, _INSTALL):
        return None
    shell = shell or (arguments[1] if len(arguments) > 1 else _running_shell())
    if shell not in SHELLS:
        problem = f"{option} {shell}: no such shell" if shell else f"{option}: cannot detect the shell"
        raise UsageError(problem, help=f"the shells are {', '.join(SHELLS)}")
    from typer._completion_shared import get_completion_script, install

    if option == _SHOW:
        script = get_completion_script(prog_name="tinylm", complete_var=VARIABLE, shell=shell)
        write_stdout(_BASH if shell == "bash" else f"{script}\n")
        return 0
    _, path = install(shell=shell, prog_name="tinylm", complete_var=VARIABLE)
    if shell == "bash":
        path.write_text(_BASH, encoding="utf-8")
    print_line(f"wrote {path}; start a new shell to use it")
    return 0


def _running_shell() -> str:
    import shellingham  # type: ignore[import-untyped]  # typer requires it

    try:
        name, _ = shellingham.detect_shell()
    except shellingham.ShellDetectionFailure:
        return ""
    return str(name)


TABLES = {
    "params": (
        "models", "components", "layers", "tensors", "tying", "counts", "formulas", "nominal_changes", "active",
        "gguf_files", "gguf_tensors",
        "modules",
    ),
    "estimate": (
        "summary", "flops", "flops_per_token", "training_memory", "inference_memory", "serving", "activations",
        "layer_activations", "layer_activations_2", "training_time", "serving_time", "training_fit", "serving_fit",
        "layouts", "plan", "traffic",
    ),
    "compare": ("figures", "fields", "plans", "cluster"),
    "sweep": ("points",),
    "design": ("designs", "grid"),
    "build": ("architecture", "tying"),
    "forward": ("stages", "next_tokens"),
    "check": ("checks",),
    "list": ("presets", "hardware"),
    "show": ("origins",),
}  # fmt: skip
"""The tables that ``--table`` may name, by command."""


def complete_table(ctx: Any, incomplete: str) -> list[str]:
    """Complete the name of a table of the command."""
    return [name for name in TABLES.get(ctx.info_name, ()) if name.startswith(incomplete)]


def complete_section(incomplete: str) -> list[str]:
    """Complete a section of ``estimate``."""
    from tinylm_cli.render.views.estimate import SECTIONS

    return [name for name in SECTIONS if name.startswith(incomplete)]


def complete_gguf_type(incomplete: str) -> list[str]:
    """Complete a type of GGUF file, in upper case as in lower case."""
    from tinylm_cli.reports.choices import GgufChoice

    return [name for name in get_args(GgufChoice) if name.upper().startswith(incomplete.upper())]


def complete_figure(incomplete: str) -> list[str]:
    """Complete a figure of ``sweep``."""
    from tinylm_cli.analysis.figures import FIGURES

    return [name for name in FIGURES if name.startswith(incomplete)]


def complete_assertion(incomplete: str) -> list[str]:
    """Complete the figure of an assertion."""
    from tinylm_cli.analysis.budget_check import ASSERTABLE

    return [name for name in ASSERTABLE if name.startswith(incomplete)]


def complete_device(incomplete: str) -> list[str]:
    """Complete the kind of a torch device."""
    return [name for name in ("cpu", "cuda", "mps") if name.startswith(incomplete)]


def complete_family(incomplete: str) -> list[str]:
    """Complete the family of a published model."""
    from tinylm_cli.config.publications import publications

    families = dict.fromkeys(each.family for each in publications().values())
    return [name for name in families if name.startswith(incomplete)]


def complete_mixer(incomplete: str) -> list[str]:
    """Complete the kind of a sequence mixer."""
    from tinylm_cli.config.choices import MixerKind

    return [name for name in get_args(MixerKind) if name.startswith(incomplete)]


def complete_config(incomplete: str) -> list[str]:
    """Complete the names of presets and published models, and config files of the folder being typed."""
    from tinylm_cli.config.presets import gallery, presets

    folder, _, start = incomplete.rpartition("/")
    paths = Path(folder or ("/" if incomplete.startswith("/") else ".")).glob(f"{start}*")
    files = [str(path) + ("/" if path.is_dir() else "") for path in sorted(paths)]
    configs = [name for name in files if name.endswith(("/", ".yaml", ".yml", ".json", ".gguf")) and name.isprintable()]
    return [name for name in (*presets(), *gallery()) if name.startswith(incomplete)] + configs


def complete_set(incomplete: str) -> list[str]:
    """Complete dotted field names, then the values of a choice."""
    from tinylm_cli.config.fields import fields

    key, equals, value = incomplete.partition("=")
    if not equals:
        names = [name for name in fields() if name.startswith(key)]
        if len(names) != 1 or not complete_set(f"{names[0]}="):
            return [f"{name}=" for name in names]
        key = names[0]
    field = fields().get(key)
    choices = () if field is None else field.choices or (("true", "false") if field.expected == "true or false" else ())
    return [f"{key}={choice}" for choice in choices if choice.startswith(value)]


def complete_variant(incomplete: str) -> list[str]:
    """Complete a config, and after ``@`` a change to it."""
    model, at, change = incomplete.rpartition("@")
    return [f"{model}{at}{setting}" for setting in complete_set(change)] if at else complete_config(incomplete)


def complete_target(incomplete: str) -> list[str]:
    """Complete the last of the targets of ``lint``, separated by commas."""
    from tinylm_cli.reports.lint import TARGETS

    others, comma, start = incomplete.rpartition(",")
    given = others.split(",")
    return [f"{others}{comma}{name}" for name in TARGETS if name.startswith(start) and name not in given]


def complete_gpu(incomplete: str) -> list[str]:
    """Complete the name or an alias of a built-in GPU."""
    from tinylm_cli.config.hardware import load_accelerators

    names = [name for each in load_accelerators().values() for name in (each.name, *each.aliases)]
    return [name for name in names if name.startswith(incomplete)]


_SPECIAL = r"[^\w@%+=:,./~-]"
"""Special characters of bash, which inserts candidates unquoted; a file may be named ``$(command).yaml``."""
_BACKSLASH = r"\\\g<0>"


def completes_for_bash() -> bool:
    """Return whether this process was started by bash to complete a command line."""
    return os.environ.get(VARIABLE) == "complete_bash"


def complete_for_bash(answer: Callable[[], object]) -> int:
    """Let ``answer`` print completions of full arguments, and print the replacement of bash's last piece.

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
    # bash replaces the text after "=", and the text from "@" on, as in host names
    last = max(words[-1].rfind("=") + 1, words[-1].rfind("@"))
    omitted = words[-1][:last] if len(words) < len(pieces) else ""
    candidates = (line.removeprefix(omitted) for line in printed.getvalue().splitlines())
    write_stdout("".join(f"{re.sub(_SPECIAL, _BACKSLASH, candidate)}\n" for candidate in candidates))
    return 0


def _joined(pieces: list[str]) -> list[str]:
    words: list[str] = []
    for piece in pieces:
        if words and (piece in _BREAKS or words[-1].endswith(_BREAKS)):
            words[-1] += piece
        else:
            words.append(piece)
    return words
