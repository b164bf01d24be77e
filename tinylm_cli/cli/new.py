"""``tinylm new``: a commented YAML to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tinylm_cli.atomic_write import write_file
from tinylm_cli.cli.next_steps import model_arguments, next_step
from tinylm_cli.cli.options import DEFAULT_CONFIG, ConfigOption, ForceOption, SetOption, argument
from tinylm_cli.cli.requested_config import print_left_out
from tinylm_cli.cli.streams import print_line
from tinylm_cli.errors import UsageError
from tinylm_cli.render.sanitize import escape_controls


def new(
    name: Annotated[str, argument("Name of the model; the file is NAME.yaml.", "NAME")],
    config: ConfigOption = DEFAULT_CONFIG,
    set_: SetOption = None,
    force: ForceOption = False,
) -> None:
    """Write a commented config to start from.

    Copies a preset to NAME.yaml with its common fields explained; tinylm schema --format markdown explains all fields.

    \b
    Examples:
      tinylm new mine
      tinylm new mine base --set n_layers=6
    """
    from tinylm_cli.config.presets import shipped
    from tinylm_cli.config.yaml_writer import to_commented_yaml
    from tinylm_cli.interop.load import load_config

    path = Path(name if name.endswith((".yaml", ".yml")) else f"{name}.yaml")
    if not name.strip("./") or name.endswith("/"):
        raise UsageError(f"{name or 'an empty string'} is not a file name", help="for example tinylm new mine")
    loaded = load_config(config, set_ or ())
    print_left_out([loaded])
    of_another_model = dict.fromkeys(("name", "description", "nominal_params"))
    start = loaded.config.model_copy(update=of_another_model)
    # a line break in the name would end the comment
    title = escape_controls(f"{path.stem}: started from {loaded.name}.")
    write_file(path, to_commented_yaml(start, title), overwrite=force)
    print_line(f"wrote {path}")
    if path.stem in shipped() and path.parent == Path():
        print_line(f"{path.stem} alone names the preset: write {path} for this file")
    print_line("for completion in your editor: tinylm schema --output tinylm.schema.json")
    print_line(f"next: {next_step('new', 'params CONFIG', model_arguments(str(path), None))}")
