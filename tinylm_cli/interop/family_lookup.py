"""Find the family that a config.json names, or explain why it is not supported."""

from __future__ import annotations

from collections.abc import Collection

from tinylm_cli.config.diagnostic_codes import clip, diagnostic
from tinylm_cli.config.similar_names import same_numbers, suggest
from tinylm_cli.config.yaml_nodes import Node, find_entry
from tinylm_cli.errors import Diagnostic
from tinylm_cli.interop.families import FAMILIES, Family
from tinylm_cli.interop.unsupported_families import KINDS, LANGUAGE_MODELS, MULTIMODAL, REASONS, UNSUPPORTED
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

_NEAR_FAMILY = 0.75

_LIST_OF_FAMILIES = Text(Command("list", (Setting("families", True),)), " shows the supported families")


def find_family(root: Node, source: str) -> Family | Diagnostic:
    """Return the family that the object ``root`` names, or a diagnostic that explains why it has none."""
    assert root.entries is not None
    named = root.entries.get("model_type")
    if named is None or (named.value.scalar is None and named.value.entries is None and named.value.items is None):
        place = root.span._replace(text="")
        message = "model_type is missing; it names the model family"
        return diagnostic("missing-key", message, source, place, field="model_type", help=_by_architecture(root))
    value = named.value
    if not isinstance(value.scalar, str):
        message = "model_type must be the name of a family, in quotes"
        return diagnostic("wrong-type", message, source, value.span, field="model_type", help='for example "llama"')
    family = FAMILIES.get(ALIASES.get(value.scalar, value.scalar))
    if family is not None:
        return _with_language_model(family, root, source) if family.language_models else family
    return _unknown_family(value, root.entries.keys(), source)


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
        message = f"unknown family {clip(name) or '(empty)'}"
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


def _by_architecture(root: Node) -> str:
    """Return advice on the missing ``model_type``, derived from ``architectures`` where possible."""
    entry = (root.entries or {}).get("architectures")
    names = [item.scalar for item in entry.value.items or []] if entry is not None else []
    for family in FAMILIES.values():
        stem = family.architecture.removesuffix("ForCausalLM").removesuffix("LMHeadModel")
        if family.architecture in names or f"{stem}Model" in names:
            add = f'add "model_type": "{family.model_type}"'
            return f"{family.architecture} belongs to the family {family.model_type}: {add}"
    named = next((name for name in names if isinstance(name, str)), None)
    if named is not None:
        return Text(f"{clip(named)} is not part of a supported family; ", _LIST_OF_FAMILIES)
    return Text('add "model_type": "llama", or another family; ', _LIST_OF_FAMILIES)
