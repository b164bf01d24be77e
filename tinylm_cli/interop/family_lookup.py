"""Find the family that a config.json names, or explain why it is not supported."""

from __future__ import annotations

from collections.abc import Collection

from tinylm_cli.config.diagnostic_codes import clip, diagnostic
from tinylm_cli.config.presets import gallery_model, is_hub_name
from tinylm_cli.config.similar_names import same_numbers, suggest
from tinylm_cli.config.yaml_nodes import Node, find_entry
from tinylm_cli.errors import Diagnostic
from tinylm_cli.interop.families import FAMILIES, Family
from tinylm_cli.interop.unsupported_families import (
    ENCODER_DECODERS,
    ENCODERS,
    KINDS,
    LANGUAGE_MODELS,
    MULTIMODAL,
    REASONS,
    UNSUPPORTED,
)
from tinylm_cli.wording import Command, Setting, Text

ALIASES = {"gpt-sw3": "gpt2", "kimi_k2": "deepseek_v3"}
"""Other values of ``model_type``, each with the family whose code their publishers or transformers use."""

DISTINCTIVE_KEYS = frozenset(
    [
        "state_size", "ssm_cfg", "ssm_state_size", "mamba_d_state", "mamba_d_ssm", "time_step_rank",  # state spaces
        "linear_num_key_heads", "linear_num_value_heads", "attn_layer_period",  # linear attention, and hybrids
        "encoder_layers", "decoder_layers", "num_encoder_layers", "num_decoder_layers",  # encoder-decoder models
        "vision_config", "audio_config", "text_config",  # parts of a multimodal model
        "type_vocab_size",  # encoders
    ]
)  # fmt: skip
"""Keys that almost no supported family has: an unknown family with one of them is not taken for a misspelling."""

_KIND_MARKS = {
    ENCODER_DECODERS: frozenset(
        ["encoder_layers", "decoder_layers", "num_encoder_layers", "num_decoder_layers", "decoder_ffn_dim"]
    ),
    MULTIMODAL: frozenset(["vision_config", "audio_config"]),
    ENCODERS: frozenset(["type_vocab_size"]),
}
"""The kind of the models of an unknown family, by keys that only they have."""

_ADAPTER_KEY = "peft_type"

_OTHER_FILES: dict[str, tuple[str, str]] = {
    _ADAPTER_KEY: ("an adapter", "name the config.json of its base model"),
    "weight_map": ("the index of weights files", "name the config.json beside it"),
    "added_tokens_decoder": ("a tokenizer", "name the config.json beside it"),
    "_class_name": ("a part of a diffusion pipeline", "tinylm reads language models"),
}
"""What a file without a ``model_type`` describes, by a key that it has, and the remedy."""

_NEAR_FAMILY = 0.75

_LIST_OF_FAMILIES = Text(Command("list", (Setting("families", True),)), " shows the supported families")


def find_family(root: Node, source: str) -> Family | Diagnostic:
    """Return the family that the object ``root`` names, or a diagnostic that explains why it has none."""
    assert root.entries is not None
    named = root.entries.get("model_type")
    if named is None or (named.value.scalar is None and named.value.entries is None and named.value.items is None):
        place = root.span._replace(text="")
        other = _other_file(root, source)
        message, help_ = other or ("model_type is missing; it names the model family", _by_architecture(root))
        return diagnostic("missing-key", message, source, place, field="model_type", help=help_)
    value = named.value
    if not isinstance(value.scalar, str):
        message = "model_type must be the name of a family, in quotes"
        return diagnostic("wrong-type", message, source, value.span, field="model_type", help='for example "llama"')
    family = FAMILIES.get(ALIASES.get(value.scalar, value.scalar)) or _family_of_class(root, value.scalar)
    if family is not None:
        return _with_language_model(family, root, source) if family.language_models else family
    return _unknown_family(value, root.entries.keys(), source)


def _family_of_class(root: Node, name: str) -> Family | None:
    """Return the family whose class ``architectures`` names under another ``model_type``, its publisher's own.

    A type that transformers has, or that misspells a family, is none.
    """
    if name in UNSUPPORTED or _misspelled(name, (root.entries or {}).keys()) is not None:
        return None
    classes = {class_name.casefold() for class_name in _classes(root)[:1]}
    return next((family for family in FAMILIES.values() if family.architecture.casefold() in classes), None)


def _classes(root: Node) -> list[str]:
    """Return the classes that ``architectures`` lists."""
    entry = (root.entries or {}).get("architectures")
    items = entry.value.items or [] if entry is not None else []
    return [item.scalar for item in items if isinstance(item.scalar, str)]


def _with_language_model(family: Family, root: Node, source: str) -> Family | Diagnostic:
    """Return a multimodal family with the keys of the language model that the config names, or of the default one.

    If tinylm does not support this language model, return a diagnostic.
    """
    path = [family.keys.language_model_key, "model_type"]
    entry = find_entry(root, path)
    if entry is None or not isinstance(entry.value.scalar, str):
        inner = find_entry(root, path[:1])
        given = inner is not None and inner.value.entries is not None
        return family._replace(keys_class=next(iter(family.language_models.values()))) if given else family
    keys_class = family.language_models.get(entry.value.scalar)
    if keys_class is not None:
        return family._replace(keys_class=keys_class)
    field = ".".join(path)
    message = f"{field} {clip(entry.value.scalar)} is not supported in {family.model_type}"
    help_ = f"the supported language models are {', '.join(family.language_models)}"
    return diagnostic("unknown-family", message, source, entry.value.span, field=field, help=help_)


def _unknown_family(value: Node, keys: Collection[str], source: str) -> Diagnostic:
    name = str(value.scalar)
    help_: str = _LIST_OF_FAMILIES
    if name in UNSUPPORTED:
        message = f"the family {name} is not supported{_reason(name)}"
        if name in LANGUAGE_MODELS:
            default = LANGUAGE_MODELS[name]
            help_ = f"save text_config as a config.json to read the language model, by default of the family {default}"
    else:
        kind = next((kind for kind, marks in _KIND_MARKS.items() if marks & set(keys)), None)
        message = f"unknown family {clip(name) or '(empty)'}{f': {kind}, by its keys' if kind else ''}"
        meant = _misspelled(name, keys)
        help_ = f"did you mean {meant}?" if meant else help_
    return diagnostic("unknown-family", message, source, value.span, field="model_type", help=help_)


def _reason(name: str) -> str:
    """Return why a family is not supported, after a colon; empty if that is not known."""
    reason = REASONS.get(name) or KINDS.get(name)
    if reason == MULTIMODAL and name not in LANGUAGE_MODELS:
        reason = f"{reason}, and tinylm does not read their language model"
    return f": {reason}" if reason else ""


def _misspelled(name: str, keys: Collection[str]) -> str | None:
    """Return the family that ``name`` misspells, if any: letters may differ, but not numbers."""
    meant = suggest(name, FAMILIES, _NEAR_FAMILY)
    if meant is None or not same_numbers(name, meant):
        return None
    outer_keys = {*FAMILIES[meant].keys.ignored_outer_keys, FAMILIES[meant].keys.language_model_key}
    return None if (DISTINCTIVE_KEYS & set(keys)) - outer_keys else meant


def _other_file(root: Node, source: str) -> tuple[str, str] | None:
    """Return the message and the remedy for a file that describes something else than a model, such as an adapter."""
    entries = root.entries or {}
    key = next((key for key in _OTHER_FILES if key in entries), None)
    if key is None:
        return None
    kind, remedy = _OTHER_FILES[key]
    message = f"this file describes {kind}, not a model"
    base = entries.get("base_model_name_or_path")
    name = base.value.scalar if base is not None and isinstance(base.value.scalar, str) else ""
    if key == _ADAPTER_KEY and entries[key].value.scalar == "LORA":
        base_model, where = gallery_model(name), ""
        if base_model is None and is_hub_name(name):
            base_model, where = f"hf://{name}", ", with the config from the Hub"
        if base_model is None:
            base_model, where = "BASE", f", where BASE is the config.json of {clip(name) or 'its base model'}"
        command = Command("params", (base_model, Setting("lora", source)))
        return message, Text(command, " counts its parameters", where)
    return message, f"{remedy}, {clip(name)}" if name else remedy


def _by_architecture(root: Node) -> str:
    """Return advice on the missing ``model_type``, derived from ``architectures`` where possible."""
    names = _classes(root)
    folded = {name.casefold() for name in names}
    for family in FAMILIES.values():
        stem = family.architecture.removesuffix("ForCausalLM").removesuffix("LMHeadModel")
        if not folded.isdisjoint((family.architecture.casefold(), f"{stem}Model".casefold())):
            add = f'add "model_type": "{family.model_type}"'
            return f"{family.architecture} belongs to the family {family.model_type}: {add}"
    if names:
        return Text(f"{clip(names[0])} is not part of a supported family; ", _LIST_OF_FAMILIES)
    return Text('add the family, such as "model_type": "llama"; ', _LIST_OF_FAMILIES)
