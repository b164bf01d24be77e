"""Configs: the schema, YAML with positions, presets, overrides, and diagnostics."""
