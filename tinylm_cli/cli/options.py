"""Options: how one is declared, the values that it reads, and the options that several commands share."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tinylm_cli.cli.completion import complete_config, complete_set, complete_table
from tinylm_cli.errors import ConfigError, Span, UsageError
from tinylm_cli.reports.record import Record
from tinylm_cli.shell_quoting import shell_join
from tinylm_cli.wording import Argument

if TYPE_CHECKING:
    from tinylm_cli.config.amounts import ArgumentKind

DEFAULT_CONFIG = "tiny"

STDOUT = Path("-")

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

PageFormat = Literal["text", "json", "markdown"]
"""Output formats of a report without tables."""
Format = Literal["text", "json", "markdown", "csv", "latex"]
"""Output formats of a report with tables."""


def option(
    text: str,
    *names: str,
    panel: str = OUTPUT_PANEL,
    complete: Callable[..., list[str]] | None = None,
    **settings: Any,
) -> Any:
    """Return an option, to annotate a parameter with.

    Args:
        text: Its help.
        names: Its names; a flag without any also gets a ``--no-`` form.
        panel: Its panel of ``--help``.
        complete: Returns the completions of a partial value.
        settings: Other arguments of ``typer.Option``.
    """
    return typer.Option(*names, help=text, rich_help_panel=panel, autocompletion=complete, **settings)


def argument(text: str, metavar: str, complete: Callable[..., list[str]] | None = None) -> Any:
    """Return a positional argument, to annotate a parameter with; for the arguments see :func:`option`."""
    return typer.Argument(metavar=metavar, help=text, autocompletion=complete)


def amount_option(
    text: str,
    name: str,
    kind: ArgumentKind,
    *,
    example: str,
    maximum: int | None = None,
    short: str = "",
    metavar: str = "N",
    panel: str = TRAINING_PANEL,
) -> Any:
    """Return an option that reads an integer, which may be an amount such as ``15B``; see :func:`amount_parser`."""
    parser = amount_parser(name, kind, example=example, maximum=maximum)
    return option(text, *filter(None, (name, short)), panel=panel, metavar=metavar, parser=parser)


def number_option(
    text: str, name: str, *, minimum: float, example: str, maximum: float | None = None, metavar: str, panel: str
) -> Any:
    """Return an option that reads a float; see :func:`number_parser`."""
    parser = number_parser(name, minimum=minimum, maximum=maximum, example=example)
    return option(text, name, panel=panel, metavar=metavar, parser=parser)


def config_option(text: str) -> Any:
    """Return the option that names a config."""
    return option(text, "--config", "-c", panel=MODEL_PANEL, metavar="CONFIG", complete=complete_config)


def require_nonempty(name: str) -> str:
    """Return the name of a file or folder; reject an empty one, which ``Path`` would treat as the current folder.

    Raises:
        UsageError: If the name is empty.
    """
    if not name:
        raise UsageError("the name of a file or folder is empty", help="is a shell variable unset?")
    return name


def parse_path(text: str) -> Path:
    """Return the path that an option names.

    Raises:
        UsageError: If the text is empty.
    """
    return Path(require_nonempty(text))


class TypedInt(int):
    """An integer that remembers how it was typed, such as ``8k``."""

    text: str


def as_typed(value: float | str) -> str:
    """Return the value of an option as it was typed."""
    return value.text if isinstance(value, TypedInt) else f"{value:.15g}" if isinstance(value, float) else str(value)


def number_parser(option: str, *, minimum: float, maximum: float | None = None, example: str) -> Callable[[str], float]:
    """Return the parser of an option that takes a float; unlike typer's ranges, it rejects NaN.

    Args:
        option: Name of the option.
        minimum: Smallest allowed value; ``ABOVE_ZERO`` allows every positive value.
        maximum: Largest allowed value; None for any finite one. With 1, the value is a share and may be in percent.
        example: A valid value.
    """

    def parse(written: str | float) -> float:
        from tinylm_cli.config.amounts import parse_number

        value = parse_number(str(written), maximum)  # a default is already a number
        if not minimum <= value <= (sys.float_info.max if maximum is None else maximum):
            if minimum == ABOVE_ZERO:
                lower, to = "above 0", " and up to"
            else:
                lower, to = f">= {minimum:g}" if maximum is None else f"from {minimum:g}", " to"
            upper = "" if maximum is None else f"{to} {maximum:,.10g}"
            noun = "finite number" if maximum is None else "number"
            remedy = f"for example {option} {example}"
            code = "wrong-type" if math.isnan(value) else "out-of-range"
            raise wrong_value(option, str(written), f"expected a {noun} {lower}{upper}", remedy, code)
        return value

    return parse


ABOVE_ZERO = sys.float_info.min
"""The ``minimum`` of an option that takes any positive number."""


_AMOUNTS: dict[ArgumentKind, str] = {
    "count": "a count",
    "length": "a number of tokens",
    "size": "a size",
    "flops": "a number of operations",
}
"""What an option that reads an amount of each kind expects."""


def amount_parser(option: str, kind: ArgumentKind, *, example: str, maximum: int | None = None) -> Callable[[str], int]:
    """Return the parser of an integer option that accepts amounts such as ``15B``.

    Args:
        option: Name of the option.
        kind: ``count``: ``500k`` is 500,000; ``length``: ``8k`` tokens are 8,192; ``size``: ``24GiB``; ``flops``:
            ``1e21``.
        example: A valid value.
        maximum: Largest allowed value; the smallest is 1.
    """

    def parse(written: str | int) -> int:
        if isinstance(written, int):  # a default
            return written
        from tinylm_cli.config.amounts import EXPECTED, MAX_AMOUNT, parse_amount

        largest = MAX_AMOUNT if maximum is None else maximum
        try:
            value = parse_amount(written, kind, most=largest)
        except ValueError as error:
            code = "wrong-type" if EXPECTED[kind] in str(error) else "out-of-range"
            limits = f"from 1 to {largest:,}" if largest < MAX_AMOUNT else ">= 1"
            expected = f"expected {_AMOUNTS[kind]} {limits}"
            raise wrong_value(option, written, expected, f"for example {option} {example}", code) from None
        typed = TypedInt(value)
        typed.text = written
        return typed

    return parse


def wrong_value(option: str, value: str, problem: str, remedy: str = "", code: str = "wrong-type") -> ConfigError:
    """Return the error for the value of an option, which points at the value.

    Args:
        option: The option, or the name of an argument.
        value: Its value as typed.
        problem: What is wrong, or what is expected instead.
        remedy: What to write instead; may be empty.
        code: The kind of error.
    """
    from tinylm_cli.config.diagnostic_codes import clip, config_error, diagnostic

    place = option_span(option, value)
    return config_error([diagnostic(code, f"{option} {clip(value)}: {problem}", place.source, place, help=remedy)])


def option_span(option: str, value: str, start: int = 0, end: int | None = None) -> Span:
    """Return the span of ``value[start:end]`` in ``OPTION value``."""
    before = len(option) + 2  # skip the option and a space; columns start at 1
    last = len(value) if end is None else end
    return Span(Argument(option), 1, before + start, before + max(last, start + 1), f"{option} {value}")


CONFIG_HELP = "A preset or published model, a YAML or GGUF file, a model folder, hf://org/name, or - for standard input"
"""The help of a config, without its default."""

ConfigOption = Annotated[str, config_option(f"{CONFIG_HELP}.")]
SetOption = Annotated[
    list[str] | None,
    option(
        "Change a field, e.g. n_layers=8 or norm.kind=rmsnorm; may be repeated.",
        "--set", panel=MODEL_PANEL, metavar="KEY=VALUE", complete=complete_set,
    ),
]  # fmt: skip
IgnoreOption = Annotated[
    list[str] | None,
    option(
        "Read a Hugging Face config.json without this key, e.g. rope_scaling.factor; may be repeated.",
        "--ignore", panel=MODEL_PANEL, metavar="KEY",
    ),
]  # fmt: skip
FORMAT_HELP = "Report format.  [default: from the suffix of --output, else text]"
FormatOption = Annotated[Format, option(FORMAT_HELP, "--format", "-f", show_default=False)]
PageFormatOption = Annotated[PageFormat, option(FORMAT_HELP, "--format", "-f", show_default=False)]
TableOption = Annotated[
    str | None,
    option("Write only this table; with csv, latex or markdown.", "--table", metavar="NAME", complete=complete_table),
]
OutputOption = Annotated[
    Path | None, option("Write to a file, atomically.", "--output", "-o", metavar="FILE", parser=parse_path)
]
GetOption = Annotated[
    str | None, option("Print only one value of the JSON report, given by its path.", "--get", metavar="PATH")
]
ForceOption = Annotated[bool, option("Overwrite existing output.", "--force")]


class Output(Record):
    """Where and how a report is written; the formats and tables depend on the command."""

    format_: str = "text"
    table: str | None = None
    output: OutputOption = None
    get: GetOption = None
    force: ForceOption = False

    @property
    def file(self) -> Path | None:
        """The file to write; None for standard output."""
        return None if self.output == STDOUT else self.output


class ReportOutput(Output):
    """The options of a report with tables."""

    format_: FormatOption = "text"
    table: TableOption = None


class PageOutput(Output):
    """The options of a report without tables."""

    format_: PageFormatOption = "text"


class CiOutput(Output):
    """The options of a report that also has formats for CI services."""

    format_: Annotated[
        Literal["text", "json", "markdown", "github", "sarif", "junit"],
        option("Report format; github, sarif and junit are for CI.", "--format", "-f"),
    ] = "text"


def explicit_options(context: typer.Context) -> dict[str, str]:
    """Return the options on the command line, by parameter name."""
    return {parameter.name or "": parameter.opts[0] for parameter in _explicit_parameters(context)}


def explicit_arguments(context: typer.Context, names: Collection[str], without: Collection[str] = ()) -> str:
    """Return the options on the command line that set the parameters in ``names``, quoted for a shell.

    Args:
        context: The command line.
        names: The parameters.
        without: Options to leave out, because another value follows.
    """
    arguments: list[str] = []
    for parameter in _explicit_parameters(context):
        value = context.params[parameter.name or ""]
        if parameter.name in names and parameter.opts[0] not in without:
            is_flag = isinstance(value, bool)
            arguments.append((parameter.secondary_opts if value is False else parameter.opts)[0])
            arguments += [] if is_flag else [as_typed(value)]
    return shell_join(arguments)


def _explicit_parameters(context: typer.Context) -> Iterator[Any]:
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        # a parameter of the app, shared by all commands, is not in the params
        if parameter.name in context.params and source is not None and source.name == "COMMANDLINE":
            yield parameter
