"""Options that several commands share, their parsers and completions, and the panels of ``--help``."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tinylm_cli.cli.output import Format, PageFormat
from tinylm_cli.errors import UsageError

if TYPE_CHECKING:
    from tinylm_cli.config.amounts import AmountKind

DEFAULT_CONFIG = "tiny"

MODEL_PANEL = "Model"
INPUT_PANEL = "Input"
SAMPLING_PANEL = "Sampling"
TARGET_PANEL = "Targets"
TRAINING_PANEL = "Training"
SERVING_PANEL = "Serving"
CLUSTER_PANEL = "Cluster"
OUTPUT_PANEL = "Output"

PANELS = (
    MODEL_PANEL, INPUT_PANEL, SAMPLING_PANEL, TARGET_PANEL, TRAINING_PANEL, SERVING_PANEL, CLUSTER_PANEL, OUTPUT_PANEL,
)  # fmt: skip
"""The panels of ``--help``, from top to bottom."""


def complete_config(incomplete: str) -> list[str]:
    """Complete the names of presets and published models, and config files of the folder being typed."""
    from tinylm_cli.config.presets import gallery, presets

    folder, _, start = incomplete.rpartition("/")
    paths = Path(folder or ("/" if incomplete.startswith("/") else ".")).glob(f"{start}*")
    files = [str(path) + ("/" if path.is_dir() else "") for path in sorted(paths)]
    wanted = [name for name in files if name.endswith(("/", ".yaml", ".yml", ".json"))]
    return [name for name in (*presets(), *gallery()) if name.startswith(incomplete)] + wanted


def complete_folder(incomplete: str) -> list[str]:
    """Complete the folders of the folder being typed."""
    return [name for name in complete_config(incomplete) if name.endswith("/")]


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
    words = () if field is None else field.choices or (("true", "false") if field.expected == "true or false" else ())
    return [f"{key}={word}" for word in words if word.startswith(value)]


def complete_variant(incomplete: str) -> list[str]:
    """Complete a config, and after ``@`` a change to it."""
    model, at, change = incomplete.rpartition("@")
    return [f"{model}{at}{word}" for word in complete_set(change)] if at else complete_config(incomplete)


def require_word(word: str) -> str:
    """Return a word that names a file or folder; ``Path`` would take an empty one for the current folder.

    Raises:
        UsageError: If the word is empty.
    """
    if not word:
        raise UsageError("the name of a file or folder is empty", help="is a shell variable unset?")
    return word


def parse_path(written: str) -> Path:
    """Return the path that an option names.

    Raises:
        UsageError: If the word is empty.
    """
    return Path(require_word(written))


def number_parser(option: str, *, least: float, most: float | None = None, example: str) -> Callable[[str], float]:
    """Return the parser of an option that takes a float; unlike typer's own ranges, it refuses NaN.

    Args:
        option: Name of the option.
        least: Smallest allowed value.
        most: Largest allowed value; None for any finite one. If it is 1, the value is a share and may be in percent.
        example: A valid value.
    """

    def parse(written: str | float) -> float:
        text = str(written)  # a default is a number already
        value = _percent(text) if most == 1 and text.endswith("%") else _float(text)
        if not least <= value <= (sys.float_info.max if most is None else most):
            wanted = f"finite number >= {least:g}" if most is None else f"number from {least:g} to {most:,.10g}"
            raise UsageError(f"{option} {written}: expected a {wanted}", help=f"for example {option} {example}")
        return value

    return parse


def amount_parser(
    option: str, kind: AmountKind | Literal["length"], *, example: str, most: int | None = None
) -> Callable[[str], int]:
    """Return the parser of an integer option that accepts amounts such as ``15B``.

    Args:
        option: Name of the option.
        kind: ``count``: ``500k`` is 500,000; ``length``: ``8k`` tokens are 8,192; ``size``: ``24GiB``; ``flops``:
            ``1e21``.
        example: A valid value.
        most: Largest allowed value; the smallest is 1.
    """

    def parse(written: str | int) -> int:
        if isinstance(written, int):  # a default
            return written
        from tinylm_cli.config.amounts import MAX_AMOUNT, parse_amount, parse_length

        greatest = MAX_AMOUNT if most is None else most
        try:
            value = parse_length(written) if kind == "length" else parse_amount(written, kind, most=greatest)
        except ValueError:
            value = None
        if value is None or not 1 <= value <= greatest:
            wanted = f"an integer from 1 to {greatest:,}" if greatest < MAX_AMOUNT else "an integer >= 1"
            raise UsageError(f"{option} {written}: expected {wanted}", help=f"for example {option} {example}")
        return value

    return parse


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _percent(text: str) -> float:
    from tinylm_cli.config.amounts import read_share

    share = read_share(text)
    return math.nan if share is None else share


ConfigOption = Annotated[
    str,
    typer.Option(
        "--config", "-c", metavar="NAME|PATH|-",
        help="A preset or published model, a YAML file, a model folder, or - for standard input.",
        autocompletion=complete_config, rich_help_panel=MODEL_PANEL,
    ),
]  # fmt: skip
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Change a field, e.g. n_layers=8 or norm.kind=rmsnorm; may be repeated.",
        autocompletion=complete_set, show_default=False, rich_help_panel=MODEL_PANEL,
    ),
]  # fmt: skip
GET_HELP = "Print one value of the JSON report, by its path, and nothing else."
GetOption = Annotated[
    str | None, typer.Option("--get", metavar="PATH", help=GET_HELP, show_default=False, rich_help_panel=OUTPUT_PANEL)
]
"""For a command that must check the path before it writes; the others get the option from ``Command``."""
FormatOption = Annotated[
    Format,
    typer.Option(
        "--format", "-f", help="Report format; default: from the suffix of --output, else text.",
        show_default=False, rich_help_panel=OUTPUT_PANEL,
    ),
]  # fmt: skip
PageFormatOption = Annotated[
    PageFormat,
    typer.Option(
        "--format", "-f", help="Report format; default: from the suffix of --output, else text.",
        show_default=False, rich_help_panel=OUTPUT_PANEL,
    ),
]  # fmt: skip
TableOption = Annotated[
    str | None,
    typer.Option(
        "--table", metavar="NAME", help="Write only this table, as csv, latex or markdown.", show_default=False,
        rich_help_panel=OUTPUT_PANEL,
    ),
]  # fmt: skip
OutputOption = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", metavar="FILE", parser=parse_path, help="Write to a file, atomically.",
        show_default=False, rich_help_panel=OUTPUT_PANEL,
    ),
]  # fmt: skip


def typed(context: typer.Context) -> dict[str, str]:
    """Return the options on the command line, by parameter name."""
    options = {}
    for parameter in context.command.params:
        if parameter.name not in context.params:  # a parameter of the app, shared by all commands
            continue
        source = context.get_parameter_source(parameter.name or "")
        if source is not None and source.name == "COMMANDLINE":
            options[parameter.name or ""] = parameter.opts[0]
    return options
