"""``tinylm import``: a Hugging Face config as a config of tinylm's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tinylm_cli.cli.options import FormatOption, OutputOption, SetOption, follow_up, same_model
from tinylm_cli.cli.outcome import STDOUT, Format, Outcome, talk
from tinylm_cli.render.safe import visible


def import_(
    path: Annotated[str, typer.Argument(metavar="PATH", help="A config.json, the folder that holds it, or -.")],
    set_: SetOption = None,
    format_: FormatOption = Format.text,
    output: OutputOption = None,
) -> Outcome:
    """Write a Hugging Face config as a tinylm YAML.

    With only what differs from the defaults. Reads files on this machine, fetches nothing, runs no code beside them.
    A setting that would change the model in a way no config can say is an error; keys that change no model are listed
    on standard error.

    \b
    Examples:
      tinylm import models/llama-3-8b --output llama.yaml
      tinylm import config.json --format json
      tinylm import config.json --set n_layers=2
    """
    from tinylm_cli.config.dump import to_short_yaml
    from tinylm_cli.interop.load import import_config
    from tinylm_cli.render.views.imported import import_view
    from tinylm_cli.reports.imported import ImportReport

    found = import_config(path, set_ or ())
    loaded = found.loaded
    title = f"{loaded.name}: {found.title}, from a Hugging Face config.json of model_type {found.family}."
    text = to_short_yaml(loaded.config, visible(title))  # a line break in a name must not end the comment
    report = ImportReport(
        loaded.name, loaded.source, found.family, found.ignored, loaded.config.model_dump(), text
    )  # fmt: skip
    if found.ignored and format_ is Format.text:
        talk(f"ignored, as no model depends on them: {', '.join(found.ignored)}")
    written: Path | None = None if output is None or output == STDOUT else output
    next_step = follow_up("params", same_model(str(written), None) if written else same_model(path, set_))
    return Outcome(
        report, lambda: import_view(report), format_, output, document=text, next_step=next_step
    )  # fmt: skip
