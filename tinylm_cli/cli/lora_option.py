"""``--lora``: an adapter_config.json, its folder, or settings such as ``r=16,target_modules=q_proj,v_proj``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from tinylm_cli.cli.options import MODEL_PANEL, option, option_span
from tinylm_cli.config.diagnostic_codes import clip, config_error, diagnostic
from tinylm_cli.errors import Diagnostic, InputError, Label, Span, UsageError
from tinylm_cli.wording import Argument

if TYPE_CHECKING:
    from tinylm_cli.analysis.setups import Setups
    from tinylm_cli.config.loader import LoadedConfig
    from tinylm_cli.config.lora import Lora, LoraConfig
    from tinylm_cli.config.yaml_nodes import Node

OPTION = Argument("--lora")

EXAMPLE = "--lora r=16,target_modules=q_proj,v_proj"

KEYS = (
    *("r", "target_modules", "lora_dropout", "modules_to_save", "bias", "layers_to_transform", "exclude_modules"),
    *("target_parameters", "use_dora", "lora_bias"),
)
"""The keys that completion offers; every key of an adapter_config.json is read."""

LISTS = frozenset(["target_modules", "exclude_modules", "target_parameters", "modules_to_save", "layers_to_transform"])
"""Keys whose value is a list; the entries after the first have no key of their own."""

_NUMBER = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?")


def complete_lora(incomplete: str) -> list[str]:
    """Complete the last key of settings such as ``r=16,target``, or a value of it; the shell completes files."""
    *complete, last = incomplete.split(",")
    before = "".join(f"{entry}," for entry in complete)
    used = {entry.partition("=")[0] for entry in complete}
    key, equals, value = last.partition("=")
    values = {"target_modules": ["all-linear"], "bias": ["none", "all", "lora_only"]}.get(key, [])
    if equals:
        return [f"{before}{key}={each}" for each in values if each.startswith(value)]
    return [f"{before}{each}=" for each in KEYS if each not in used and each.startswith(last)]


LoraOption = Annotated[
    str | None,
    option(
        "Train adapters only: an adapter_config.json, its folder, or its keys: r=16,target_modules=q_proj,v_proj.",
        "--lora", panel=MODEL_PANEL, metavar="LORA", complete=complete_lora,
    ),
]  # fmt: skip


def adapter_beside(config: str | None) -> str | None:
    """Return the folder of a model if it has an adapter too; else None."""
    from tinylm_cli.interop.load import is_adapter_folder, is_model_folder

    return config if config is not None and is_model_folder(Path(config)) and is_adapter_folder(config) else None


def read_lora(written: str | None, loaded: LoadedConfig) -> Lora | None:
    """Return the adapters that the option describes; None without the option.

    Args:
        written: The value of the option.
        loaded: The model.

    Raises:
        ConfigError: If the settings or the file are invalid, or name modules that the model does not have.
        InputError: If the file cannot be read.
        AnalysisError: If the model has too many tensors.
    """
    if written is None:
        return None
    from tinylm_cli.analysis.tensor_table import stored_shapes
    from tinylm_cli.interop.lora_modules import MAX_TENSORS
    from tinylm_cli.interop.lora_targets import resolve_lora

    config = _read(written)
    return resolve_lora(config, loaded, stored_shapes(loaded.config, MAX_TENSORS))


def adapters_to_train(written: str | None, loaded: LoadedConfig, setups: Setups) -> Setups:
    """Return the setups with the adapters that the option describes; requested quantization applies to both setups.

    Raises:
        ConfigError: As :func:`read_lora`.
        UsageError: If several GPUs train the model.
    """
    lora = read_lora(written, loaded)
    if lora is None:
        return setups
    if setups.training.n_gpus > 1:
        message = "--lora trains on one GPU: plans describe no frozen weights"
        raise UsageError(message, help="remove --gpus, or --lora")
    training = setups.training._replace(lora=lora, quantization=setups.serving.quantization)
    return setups._replace(training=training)


def _read(written: str) -> LoraConfig:
    from tinylm_cli.interop import ADAPTER_FILE
    from tinylm_cli.interop.adapter_config import adapter_of, read_adapter
    from tinylm_cli.interop.load import is_adapter_folder

    path = Path(written)
    if not written or ("=" in written and not path.exists()):
        root = _tree(written)
        return adapter_of(root, OPTION)
    if path.is_dir() and not is_adapter_folder(written):
        raise InputError(f"{written} has no {ADAPTER_FILE}", help=f"name the folder of an adapter, or {EXAMPLE}")
    if not path.exists():
        raise InputError(f"no such file or folder: {written}", help=f"name an {ADAPTER_FILE}, or write {EXAMPLE}")
    return read_adapter(written)


class _Entry(NamedTuple):
    """One ``key=value`` of the option, with the further entries of a list, and their positions."""

    key: str
    key_span: Span
    values: list[tuple[str, Span]]


def _tree(written: str) -> Node:
    """Return the tree of the adapter_config.json that ``r=16,target_modules=q_proj,v_proj`` describes.

    Raises:
        ConfigError: If an entry has no key, or a key is given twice; contains every error, each at its position.
    """
    from tinylm_cli.config.yaml_nodes import Entry, Node

    errors: list[Diagnostic] = []
    entries = _entries(written, errors)
    if errors:
        raise config_error(errors)
    whole = option_span(OPTION, written)
    tree = {entry.key: Entry(entry.key_span, _value(entry)) for entry in entries.values()}
    if not tree.keys() & {"target_modules", "target_parameters"}:
        all_linear = Node(whole, scalar="all-linear", written="all-linear", quoted=True)
        tree["target_modules"] = Entry(whole, all_linear)
    return Node(whole, entries=tree)


def _entries(written: str, errors: list[Diagnostic]) -> dict[str, _Entry]:
    """Return the entries by key; an entry without a key continues the list before it."""
    found: dict[str, _Entry] = {}
    last: _Entry | None = None
    for text, start in _parts(written):
        key, equals, value = text.partition("=")
        span = option_span(OPTION, written, start, start + len(text))
        if not equals and text and last is not None and (last.key in LISTS or last.key not in KEYS):
            last.values.append((text, span))
            continue
        value_span = option_span(OPTION, written, start + len(key) + 1, start + len(text))
        if not equals or not value or not key:
            message = f"{clip(text)} is not key=value" if text else "an entry of --lora is empty"
            errors.append(diagnostic("wrong-type", message, OPTION, span, help=f"for example {EXAMPLE}"))
            last = None
        elif key in found:
            label = Label(found[key].key_span, "first given here")
            message = f"{clip(key)} is given twice"
            errors.append(diagnostic("duplicate-key", message, OPTION, span, help="remove one", labels=(label,)))
        else:
            last = found[key] = _Entry(
                key, option_span(OPTION, written, start, start + len(key)), [(value, value_span)]
            )
    return found


def _parts(written: str) -> Iterator[tuple[str, int]]:
    start = 0
    for text in written.split(","):
        yield text.strip(), start + len(text) - len(text.lstrip())
        start += len(text) + 1


def _value(entry: _Entry) -> Node:
    """Return the value of an entry: a list for the keys of ``LISTS``, except ``all-linear``."""
    from tinylm_cli.config.yaml_nodes import Node

    nodes = [_scalar(text, span) for text, span in entry.values]
    is_shorthand = entry.key == "target_modules" and entry.values[0][0].lower() == "all-linear" and len(nodes) == 1
    if entry.key in LISTS and not is_shorthand:
        return Node(entry.values[0][1], items=nodes)
    return nodes[0]


def _scalar(text: str, span: Span) -> Node:
    from tinylm_cli.config.yaml_nodes import Node

    value: Any = {"true": True, "false": False}.get(text, text)
    if _NUMBER.fullmatch(text):
        value = float(text) if "." in text else int(text)
    return Node(span, scalar=value, written=text, quoted=isinstance(value, str))
