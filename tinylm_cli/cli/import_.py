"""``tinylm import``: a Hugging Face config, and its weights, as tinylm's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tinylm_cli.cli.next_steps import model_arguments, next_step
from tinylm_cli.cli.options import IgnoreOption, PageOutput, SetOption, argument, option
from tinylm_cli.cli.output import CommandOutput
from tinylm_cli.cli.streams import print_line, print_note
from tinylm_cli.errors import ConfigError, UsageError, WeightsError
from tinylm_cli.quantities import counted
from tinylm_cli.render.sanitize import escape_controls
from tinylm_cli.shell_quoting import shell_quote

if TYPE_CHECKING:
    from tinylm_cli.interop.key_effects import KeyPolicy
    from tinylm_cli.interop.load import ImportedConfig
    from tinylm_cli.interop.weights.checkpoint import Checkpoint


def import_(
    path: Annotated[str, argument("A config.json, its folder, or - for standard input.", "PATH")],
    *,
    weights: Annotated[bool, option("Also convert the weights; --output names the new folder.", "--weights")] = False,
    set_: SetOption = None,
    ignore: IgnoreOption = None,
    to: PageOutput,
) -> CommandOutput:
    """Convert a Hugging Face config, and optionally its weights.

    Writes a YAML config with only the values that differ from the defaults. Reads local files, downloads nothing, and
    runs no code from the folder. A key that a tinylm config cannot express is an error. Sizes that take the family's
    default, and keys without effect on the model, are listed on standard error. --weights also converts the
    safetensors files of the folder: every name, shape and dtype is checked before anything is written.

    \b
    Examples:
      tinylm import models/llama-3-8b --output llama.yaml
      tinylm import config.json --format json
      tinylm import config.json --set n_layers=2
      tinylm import models/llama-3-8b --weights --output llama
    """
    from tinylm_cli.config.yaml_writer import to_short_yaml
    from tinylm_cli.interop.key_effects import KeyPolicy, require_keys
    from tinylm_cli.interop.load import import_config
    from tinylm_cli.render.views.import_ import assumed_note, ignored_note, import_view, mtp_note
    from tinylm_cli.reports.import_ import ImportReport

    if weights and to.file is None:
        raise UsageError(
            "--weights needs a folder to write", help=f"tinylm import {shell_quote(path)} --weights --output DIR"
        )
    if weights and path == "-":
        raise UsageError("--weights needs a folder with weights", help="name it instead of standard input")
    policy = KeyPolicy(tuple(ignore or ()))
    imported = import_config(path, set_ or (), policy)
    loaded = imported.loaded
    require_keys(policy.ignored, [loaded])
    title = f"{loaded.name}: {imported.title}, from a Hugging Face config.json of model_type {imported.family}."
    text = to_short_yaml(loaded.config, escape_controls(title))  # a line break in a name must not end the comment
    report = ImportReport(
        loaded.name, loaded.source, imported.family, imported.ignored, imported.assumed, loaded.config.model_dump(),
        text, imported.unread_mtp_layers, str(to.file) if weights else None,
        loaded.ignored_keys,
    )  # fmt: skip
    if weights:
        from tinylm_cli.cli.report_value import require_value

        require_value(report, to.get)
    if to.format_ == "text":
        notes = (loaded.left_out, assumed_note(report), mtp_note(report), ignored_note(report))
        for note in filter(None, notes):
            print_note(note)
    if not weights:
        model = model_arguments(path, set_, ignored=ignore) if to.file is None else model_arguments(str(to.file), None)
        following = next_step("import", "params CONFIG", model)
        return CommandOutput(report, lambda: import_view(report), to, document=text, next_step=following)
    assert to.file is not None
    checkpoint = _convert(imported, path, to.file, text, set_ or (), policy, force=to.force)
    if checkpoint.skipped:
        parts = sorted({name.removeprefix("model.").partition(".")[0] for name in checkpoint.skipped})
        count = counted(len(checkpoint.skipped), "tensor")
        print_note(f"skipped {count} of {' and '.join(parts)}: not part of the language model")
    print_line(f"wrote {counted(len(checkpoint.shapes), 'stored tensor')} and config.yaml to {to.file}")
    following = next_step("import --weights", "check", model_arguments(None, None, to.file))
    to = replace(to, output=None)
    return CommandOutput(report, lambda: import_view(report), to, document="", next_step=following)


def _convert(
    imported: ImportedConfig,
    path: str,
    output: Path,
    text: str,
    overrides: Sequence[str],
    policy: KeyPolicy,
    *,
    force: bool,
) -> Checkpoint:
    """Convert the weights in the folder of a config.json."""
    from tinylm_cli.atomic_write import require_free_folder
    from tinylm_cli.cli.model_options import import_torch
    from tinylm_cli.cli.progress import working
    from tinylm_cli.interop.load import SAVED_FILES

    require_free_folder(output, SAVED_FILES, overwrite=force)
    folder = Path(path) if Path(path).is_dir() else Path(path).parent
    with working(f"converting {imported.loaded.name}"):
        import_torch()
        from tinylm_cli.interop.weights.import_weights import import_weights

        try:
            return import_weights(
                imported.loaded.config, imported.family, folder, output, config_text=text, overwrite=force
            )
        except WeightsError as error:
            if not overrides or not _weights_match(path, folder, policy):
                raise
            options = " ".join(f"--set {shell_quote(override)}" for override in overrides)
            raise WeightsError(
                error.message, help=f"the weights match config.json without overrides: remove {options}"
            ) from error


def _weights_match(path: str, folder: Path, policy: KeyPolicy) -> bool:
    """Return whether the weights match the config.json without overrides."""
    from tinylm_cli.interop.load import import_config
    from tinylm_cli.interop.weights.checkpoint import Checkpoint

    try:
        imported = import_config(path, policy=policy)
        Checkpoint(imported.loaded.config, imported.family, folder)
    except (ConfigError, WeightsError):
        return False
    return True
