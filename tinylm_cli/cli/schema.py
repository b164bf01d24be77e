"""``tinylm schema``: the JSON Schema of a config."""

from __future__ import annotations

from dataclasses import replace

from tinylm_cli.cli.options import PageOutput
from tinylm_cli.cli.output import CommandOutput


def schema(to: PageOutput) -> CommandOutput:
    """Print the JSON Schema of a config.

    Editors use it to complete and check configs. --format markdown prints a reference of all fields.

    \b
    Examples:
      tinylm schema --output tinylm.schema.json
      tinylm schema --format markdown
    """
    from tinylm_cli.config.schema import json_schema
    from tinylm_cli.render.json import to_document
    from tinylm_cli.render.views.show import schema_view

    document = json_schema()
    if to.format_ == "json":  # the schema is itself a JSON document
        to = replace(to, format_="text")
    return CommandOutput(document, schema_view, to, document=to_document(document))
