"""``tinylm schema``: the JSON Schema of a config."""

from __future__ import annotations

from tinylm_cli.cli.options import OutputOption, PageFormatOption
from tinylm_cli.cli.output import CommandOutput, Format, PageFormat


def schema(format_: PageFormatOption = PageFormat.text, output: OutputOption = None) -> CommandOutput:
    """Print the JSON Schema of a config.

    Editors complete and check configs with it. --format markdown prints a reference of all fields.

    \b
    Examples:
      tinylm schema --output tinylm.schema.json
      tinylm schema --format markdown
    """
    from tinylm_cli.config.schema import json_schema
    from tinylm_cli.render.json import to_document
    from tinylm_cli.render.views.presets import schema_view

    written = Format.text if format_ is PageFormat.json else Format(format_)  # the schema is itself a JSON document
    schema_document = json_schema()
    return CommandOutput(schema_document, schema_view, written, output, document=to_document(schema_document))
