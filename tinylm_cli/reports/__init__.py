"""Reports: records of raw integers that every command computes before it renders.

Units are in the names (``_params``, ``_bytes``). ``tinylm_cli.render.json`` writes these very
fields; docs/json.md lists them.
"""

SCHEMA_VERSION = 2
