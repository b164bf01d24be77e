"""Load a tinylm or Hugging Face config by name or path; every command starts here."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tinylm_cli.config.diagnostic_codes import config_error
from tinylm_cli.config.loader import LoadedConfig, parse_config, resolve_config
from tinylm_cli.config.presets import read_reference, shipped
from tinylm_cli.config.source import STDIN, Source, read_source
from tinylm_cli.errors import ConfigError, Diagnostic, InputError
from tinylm_cli.interop import ADAPTER_FILE, CONFIG_FILE, FAMILY_KEYS
from tinylm_cli.interop.key_effects import NO_EFFECT_HERE, REQUESTED, KeyPolicy, left_out_here, without_keys
from tinylm_cli.wording import SET

if TYPE_CHECKING:
    from tinylm_cli.config.yaml_nodes import Node
    from tinylm_cli.interop.families import Family
    from tinylm_cli.interop.to_tinylm import Mapped

READ_ALL = KeyPolicy()
"""The policy by which every key that is not understood is an error."""

GGUF_SUFFIX = ".gguf"
"""End of the names of GGUF files, whose header is read as a Hugging Face config."""

SAVED_CONFIG = "config.yaml"
"""Name of the config file in a folder written by ``tinylm build --save`` or ``tinylm import --weights``."""
SAVED_WEIGHTS = "model.safetensors"
"""Name of the weights file in such a folder."""
SAVED_FILES = (SAVED_WEIGHTS, SAVED_CONFIG)
"""All files of such a folder."""


# unlike the methods of Path, false for a name that is too long
_is_file, _is_folder = os.path.isfile, os.path.isdir
_exists = os.path.lexists  # true for a pipe, a folder or a broken link; reading it reports its type


class ConfigText(NamedTuple):
    """The text of a config, read but not parsed."""

    source: Source  # The text and the name of its file.
    as_json: bool  # Whether the file name suggests a Hugging Face config.
    # The model's name if its config has none: the name of a folder written by tinylm, or empty to use the file's name.
    name: str = ""
    policy: KeyPolicy = READ_ALL  # Which keys of a Hugging Face config to leave out.


class ImportedConfig(NamedTuple):
    """A Hugging Face config converted to a valid tinylm config."""

    # The config. Origins are positions in the JSON; values implied by the family point to ``model_type``.
    loaded: LoadedConfig
    family: str  # Its ``model_type``.
    title: str  # The family's display name.
    ignored: tuple[str, ...]  # Keys without effect on the model, in file order.
    # Sizes that neither the file nor an override sets, with the family's defaults, by dotted field.
    assumed: dict[str, int]
    unread_mtp_layers: int  # Multi-token prediction modules that the file names, which are not read.
    root: Node  # The tree of the file.
    keys: Mapping[str, str]  # The key of the file from which each tinylm field is copied, by dotted field.


def load_config(reference: str, overrides: Sequence[str] = (), policy: KeyPolicy = READ_ALL) -> LoadedConfig:
    """Load a tinylm config, a Hugging Face config.json, or a folder that holds either, as ``build --save`` writes it.

    A config with ``d_model`` is a tinylm config. Without it, a ``*.json`` file or a config with ``model_type`` is a
    Hugging Face config.

    Args:
        reference: Its name or path.
        overrides: Each ``key=value``.
        policy: Which keys of a Hugging Face config to leave out.

    Raises:
        ConfigError: If the config or an override is invalid; holds every error found.
        InputError: If no such config exists, or it cannot be read.
        UsageError: If an override is not ``key=value``.
    """
    return parse_config_text(read_config_text(reference)._replace(policy=policy), overrides)


def read_config_text(reference: str) -> ConfigText:
    """Read the text of a preset, a file, a model folder's config, stdin, a file in a git revision, or ``hf://org/name``.

    Raises:
        ConfigError: If it is not UTF-8.
        InputError: If no such config exists, or it cannot be read.
    """
    if reference in shipped() or reference == "-" or "\0" in reference:
        return ConfigText(read_reference(reference), as_json=False)
    if is_hub_reference(reference):
        from tinylm_cli.interop.hub import find_repository, read_hub_config

        return ConfigText(read_hub_config(find_repository(reference)), as_json=True)
    if is_gguf(reference):
        from tinylm_cli.interop.gguf.package import require_gguf

        require_gguf("GGUF files")
        from tinylm_cli.interop.gguf.config_keys import read_gguf_source

        return ConfigText(read_gguf_source(reference), as_json=True)
    if is_model_folder(Path(reference)):
        return ConfigText(read_source(str(Path(reference) / CONFIG_FILE)), as_json=True)
    if _is_saved_folder(Path(reference)):
        source = read_source(str(Path(reference) / SAVED_CONFIG))
        return ConfigText(source, as_json=False, name=Path(reference).resolve().name)
    if is_adapter_folder(reference):  # whose remedy names the base model
        return ConfigText(read_source(str(Path(reference) / ADAPTER_FILE)), as_json=True)
    if ":" in reference:
        from tinylm_cli.config.git_revision import names_revision, read_revision

        if names_revision(reference):
            source = read_revision(reference, CONFIG_FILE)
            return ConfigText(source, source.name.endswith(".json"))
    return ConfigText(read_reference(reference), reference.endswith(".json"))


def parse_config_text(text: ConfigText, overrides: Sequence[str] = ()) -> LoadedConfig:
    """Parse and validate the text of a config; see ``load_config``."""
    if is_hugging_face_text(text.source, expected=text.as_json):
        return import_text(text.source, overrides, text.policy).loaded
    loaded = parse_config(text.source, overrides)
    return loaded._replace(name=text.name) if text.name and loaded.config.name is None else loaded


def import_config(reference: str, overrides: Sequence[str] = (), policy: KeyPolicy = READ_ALL) -> ImportedConfig:
    """Load a Hugging Face config; see ``load_config``.

    Raises:
        InputError: Also if the file is a tinylm config.
    """
    if not names_config(reference) and _is_folder(reference):
        raise InputError(f"'{reference}' has no {CONFIG_FILE}", help="name the folder of a Hugging Face model")
    if reference and not {"/", ":", "\0"} & set(reference) and not names_config(reference):
        raise InputError(f"no such file or folder: {reference}", help=f"name a {CONFIG_FILE}, or its folder")
    source, as_json, *_ = read_config_text(reference)
    if not is_hugging_face_text(source, expected=as_json):
        parse_config(source, overrides)
        raise InputError(f"{source.name} is already a tinylm config", help="pass it to any command as CONFIG")
    return import_text(source, overrides, policy)


def hugging_face_family(folder: str) -> str:
    """Return the ``model_type`` of the family of a Hugging Face folder; of its config.json, no other key is read.

    Raises:
        ConfigError: If its family is unknown or not supported, or its config.json is no JSON object.
        InputError: If it cannot be read.
    """
    from tinylm_cli.interop.config_json import read_json
    from tinylm_cli.interop.family_lookup import find_family
    from tinylm_cli.interop.to_tinylm import not_an_object

    source = read_config_text(folder).source
    root = read_json(source).root
    if root is None or root.entries is None:
        raise config_error([not_an_object(root, source)])
    family = find_family(root, source.name)
    if isinstance(family, Diagnostic):
        raise config_error([family])
    return family.model_type


def names_config(word: str) -> bool:
    """Return whether ``word`` names a built-in config, a file, a model folder, or standard input."""
    path = Path(word)
    return word in shipped() or word == "-" or _is_file(path) or is_model_folder(path) or _is_saved_folder(path)


def is_hub_reference(reference: str) -> bool:
    """Return whether a reference names a repository of the Hugging Face Hub."""
    return reference.startswith("hf://")


def is_gguf(reference: str) -> bool:
    """Return whether a reference names a GGUF file that is there, of any type."""
    return reference.casefold().endswith(GGUF_SUFFIX) and _exists(reference)


def is_model_folder(path: Path) -> bool:
    """Return whether ``path`` is a folder that contains a config.json."""
    return _exists(path / CONFIG_FILE)


def is_adapter_folder(reference: str) -> bool:
    """Return whether a path is a folder that contains an adapter_config.json."""
    return _exists(Path(reference) / ADAPTER_FILE)


def _is_saved_folder(path: Path) -> bool:
    """Return whether ``path`` is a folder with weights and config that tinylm wrote."""
    return _exists(path / SAVED_CONFIG) and _exists(path / SAVED_WEIGHTS)


def saved_config(weights: Path) -> str | None:
    """Return the path of config.yaml (tinylm) or config.json (Hugging Face) in a weights folder, or None."""
    if _exists(weights / SAVED_CONFIG):
        return str(weights / SAVED_CONFIG)
    return str(weights / CONFIG_FILE) if is_model_folder(weights) else None


def is_hugging_face_folder(weights: Path) -> bool:
    """Return whether the config in a weights folder is a Hugging Face config.json."""
    saved = saved_config(weights)
    return saved is not None and Path(saved).name == CONFIG_FILE


def is_hugging_face_text(source: Source, *, expected: bool) -> bool:
    """Return whether a text is a Hugging Face config, which most texts are not by their words."""
    if not expected and not any(key in source.text for key in FAMILY_KEYS):
        return False
    from tinylm_cli.interop.config_json import is_hugging_face

    return is_hugging_face(source, expected=expected)


def import_text(source: Source, overrides: Sequence[str], policy: KeyPolicy) -> ImportedConfig:
    """Convert the text of a Hugging Face config; see ``load_config``."""
    from tinylm_cli.interop.config_json import read_json
    from tinylm_cli.interop.to_tinylm import not_an_object
    from tinylm_cli.interop.vision import vision_params

    document = read_json(source)
    root = document.root
    if root is None or root.entries is None:
        raise config_error([*document.diagnostics, not_an_object(root, source)])
    overridden = {override.partition("=")[0].strip() for override in overrides}
    root, mapped, ignored = _without_left_out_keys(root, source.name, overridden, policy)
    errors = document.diagnostics + mapped.errors
    if mapped.family is None:
        raise config_error(errors)
    try:
        loaded = resolve_config(mapped.root, _model_name(source.path), source.name, [*errors], overrides, mapped.keys)
    except ConfigError as error:
        assert root.entries is not None
        implied = root.entries["model_type"].value.span
        raise config_error(
            # errors in fields that the family implies follow from an invalid key
            [each for each in error.diagnostics if not mapped.errors or each in errors or each.span != implied]
        ) from error
    counted = vision_params(mapped.family.model_type, root.plain(), loaded.config.d_model)
    others = {} if counted is None else {"vision_encoder": counted.encoder, "projector": counted.projector}
    sentence, family = left_out(mapped.family, others), mapped.family.model_type
    loaded = loaded._replace(left_out=sentence, other_params=others, ignored_keys=ignored, family=family)
    loaded = _with_unconverted(loaded, mapped)
    overridden = {name for name, span in loaded.origins.items() if span is not None and span.source == SET}
    assumed = {name: size for name, size in mapped.assumed.items() if name not in overridden}
    n_modules = unread_mtp_layers(root.plain())
    return ImportedConfig(
        loaded, mapped.family.model_type, mapped.family.title, mapped.ignored, assumed, n_modules, root, mapped.keys
    )


def _with_unconverted(loaded: LoadedConfig, mapped: Mapped) -> LoadedConfig:
    """Return a config with the modules that its checkpoint does not convert, by the names of tinylm."""
    config, skipped, unread = loaded.config, mapped.storage.skipped, mapped.storage.unread
    if skipped is None or config.storage.quantization in ("none", "gguf") or loaded.origins[NOT_CONVERTED] is not None:
        return loaded._replace(unread_storage=unread)
    from tinylm_cli.interop.heads import tensor_names_of
    from tinylm_cli.interop.unconverted_modules import unconverted_modules

    assert mapped.family is not None
    names, unread_names = unconverted_modules(config, tensor_names_of(mapped.family.model_type, config), skipped)
    storage = config.storage.model_copy(update={"modules_to_not_convert": names})
    origins = loaded.origins | {NOT_CONVERTED: loaded.origins["storage.quantization"]}
    if storage == config.storage:
        origins = loaded.origins
    config = config.model_copy(update={"storage": storage})
    return loaded._replace(config=config, origins=origins, unread_storage=(*unread, *unread_names))


def _without_left_out_keys(
    root: Node, name: str, overridden: set[str], policy: KeyPolicy
) -> tuple[Node, Mapped, dict[str, str]]:
    """Return an object without the keys that the policy leaves out, its translation, and those keys with the reason."""
    from tinylm_cli.interop.to_tinylm import map_config

    root, found = without_keys(root, policy.ignored)
    ignored = dict.fromkeys(found, REQUESTED)
    mapped = map_config(root, name, overridden)
    while keys := left_out_here(mapped.errors, root, policy.reported):  # with the family's default in their place
        root, found = without_keys(root, keys)
        ignored |= dict.fromkeys(found, NO_EFFECT_HERE)
        mapped = map_config(root, name, overridden)
    return root, mapped, ignored


NOT_CONVERTED = "storage.modules_to_not_convert"

MTP_KEYS = ("num_nextn_predict_layers", "num_mtp_layers", "num_mtp_modules", "mtp_num_layers", "mtp_num_hidden_layers")
"""The keys of published configs for the number of multi-token prediction modules."""


def unread_mtp_layers(document: Mapping[str, Any]) -> int:
    """Return the multi-token prediction modules that a config.json names, which no class of transformers builds."""
    parts = [document, *(part for part in document.values() if isinstance(part, dict))]  # the model, its text_config
    given = [part.get(key) for part in parts for key in MTP_KEYS]
    return max((n for n in given if isinstance(n, int) and not isinstance(n, bool) and n > 0), default=0)


def left_out(family: Family, counted: Mapping[str, int]) -> str:
    """Return a sentence about the parts of a multimodal model that are not read; empty for a text model."""
    if not family.keys.ignored_outer_keys:
        return ""
    caveat = f"; {family.keys.caveat}" if family.keys.caveat else ""
    if counted:
        parts = [f"{name.replace('_', ' ')} ({params:,} parameters)" for name, params in counted.items()]
        without = " and its ".join(parts)
        return f"only the language model of {family.model_type} is read, without its {without}{caveat}"
    parts = [key for key in family.keys.ignored_outer_keys if key.endswith("_config")]
    are_not = "is not" if len(parts) == 1 else "are not"
    others = f"; {' and '.join(parts)} {are_not}" if parts else ""
    return f"only the language model of {family.model_type} is counted{others}{caveat}"


def _model_name(source: str) -> str:
    """Return the stem of the file's name, or the parent folder's name for ``config.json``."""
    if source == STDIN:
        return "stdin"
    path = Path(source)
    return path.stem if path.name != CONFIG_FILE else path.resolve().parent.name or path.stem
