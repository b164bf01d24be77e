"""``tinylm new``: a commented YAML to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tinylm_cli.atomic_write import write_file
from tinylm_cli.cli.command import FORMAT_OF_SUFFIX, YAML
from tinylm_cli.cli.next_steps import model_arguments, next_step
from tinylm_cli.cli.options import (
    DEFAULT_CONFIG,
    STDOUT,
    ConfigOption,
    ForceOption,
    IgnoreOption,
    OutputOption,
    SetOption,
    argument,
)
from tinylm_cli.cli.output import print_ignored_keys
from tinylm_cli.cli.requested_config import print_left_out
from tinylm_cli.cli.streams import print_line, write_stdout
from tinylm_cli.cli.wording import as_options
from tinylm_cli.config.presets import shipped
from tinylm_cli.errors import UsageError
from tinylm_cli.render.sanitize import escape_controls


def new(
    name: Annotated[
        str | None, argument("Name of the model; the file is NAME.yaml, unless --output names another.", "[NAME]")
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    set_: SetOption = None,
    ignore: IgnoreOption = None,
    output: OutputOption = None,
    force: ForceOption = False,
) -> None:
    """Write a commented config to start from.

    Copies a preset to a YAML file with its common fields explained. tinylm schema --format markdown explains all
    fields.

    \b
    Examples:
      tinylm new mine
      tinylm new mine base --set n_layers=6
      tinylm new -o configs/mine.yaml
    """
    from tinylm_cli.config.yaml_writer import to_commented_yaml
    from tinylm_cli.interop.key_effects import KeyPolicy, require_keys
    from tinylm_cli.interop.load import load_config

    path = _path(name, output)
    loaded = load_config(config, set_ or (), KeyPolicy(tuple(ignore or ())))
    require_keys(ignore or (), [loaded])
    print_left_out([loaded])
    print_ignored_keys(loaded)
    of_another_model = dict.fromkeys(("name", "description", "nominal_params"))
    start = loaded.config.model_copy(update=of_another_model)
    named = name if output is not None and name is not None else "config" if path == STDOUT else path.stem
    chosen = [override.partition("=")[0].strip() for override in set_ or ()]
    # a line break in the name would end the comment
    title = escape_controls(f"{named}: started from {loaded.name}.")
    text = to_commented_yaml(start, title, as_options, chosen)
    if path == STDOUT:
        write_stdout(text)
        return
    write_file(path, text, overwrite=force)
    print_line(f"wrote {path}: started from {loaded.name}")
    if path.stem in shipped() and path.parent == Path():
        print_line(f"{path.stem} alone names the preset: write {path} for this file")
    print_line("for completion in your editor: tinylm schema --output tinylm.schema.json")
    print_line(f"next: {next_step('new', 'params CONFIG', model_arguments(str(path), None))}")


def _path(name: str | None, output: Path | None) -> Path:
    """Return the file to write.

    Raises:
        UsageError: If there is no name, it does not name a YAML file, or it is the name of a built-in config.
    """
    if output is not None:
        suffix = output.suffix.lower()
        if output != STDOUT and suffix in FORMAT_OF_SUFFIX and suffix:
            raise UsageError(f"--output {output}: new writes YAML", help=f"for example {output.with_suffix('.yaml')}")
        return output
    if name is None:
        raise UsageError("NAME is missing", help="for example tinylm new mine")
    if not name.strip("./") or name.endswith("/"):
        raise UsageError(f"{name or 'an empty string'} is not a file name", help="for example tinylm new mine")
    if name in shipped():
        raise UsageError(f"{name} is a built-in config", help=f"to start from it: tinylm new mine {name}")
    suffix = Path(name).suffix.lower()
    if suffix in FORMAT_OF_SUFFIX and suffix:
        raise UsageError(f"{name}: new writes YAML", help=f"for example tinylm new {Path(name).stem}")
    return Path(name if suffix in YAML else f"{name}.yaml")
