"""The head that ``architectures`` of a config.json names, its class names on export, and its tensor names.

Classes and module names follow the modeling files of transformers 5.24.
"""

from __future__ import annotations

import re
from typing import Any

from tinylm_cli.config.choices import HeadKind
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.config.yaml_nodes import Entry, Node
from tinylm_cli.errors import Span
from tinylm_cli.interop.families import FAMILIES, Family
from tinylm_cli.interop.tensor_names import TensorNames
from tinylm_cli.interop.translation import Translation
from tinylm_cli.wording import Setting, Text

ARCHITECTURES = "architectures"
SUFFIXES: dict[str, HeadKind] = {
    "ForCausalLM": "lm",
    "LMHeadModel": "lm",
    "ForConditionalGeneration": "lm",
    "ForSequenceClassification": "sequence_classification",
    "ForTokenClassification": "token_classification",
    "Model": "none",
}
"""The head of a class by the suffix of its name; the first suffix that matches counts."""

_OTHER_MODELS = re.compile(r"For[A-Z]|Head|Reward|Value|Critic|Vision|Audio|Projector|Adapter")
"""Parts of the names of classes that end in Model, but have a head or are not a language model: LlamaForRewardModel."""

DEFAULT_LABELS = 2
"""Labels of a config.json with neither ``num_labels`` nor ``id2label``."""

_CLASSIFIES = {
    "sequence_classification": """
        arcee axk1 axk2 biogpt bloom cohere_compass_text ctrl deepseek_v2 deepseek_v3 diffllama doge exaone4 falcon
        gemma gemma2 gemma3 gemma3_text glm glm4 gpt2 gpt_bigcode gpt_neo gpt_neox gpt_oss gptj helium
        hunyuan_v1_dense hunyuan_v1_moe jamba jetmoe llama minicpm3 minimax ministral ministral3 mistral mixtral
        modernbert-decoder mpt nemotron olmo olmo2 olmo3 openai-gpt opt persimmon phi phi3 phimoe qwen2
        qwen2_moe qwen3 qwen3_5 qwen3_5_text qwen3_moe qwen3_next seed_oss smollm3 stablelm starcoder2
        zamba zamba2
    """,
    "token_classification": """
        apertus arcee axk1 axk2 beam biogpt bloom deepseek_v3 diffllama exaone4 falcon gemma gemma2 glm glm4 gpt2
        gpt_bigcode gpt_neo gpt_neox gpt_oss helium llama minimax ministral ministral3 mistral mixtral mpt
        nemotron persimmon phi phi3 qwen2 qwen2_moe qwen3 qwen3_5 qwen3_moe qwen3_next seed_oss smollm3 stablelm
        starcoder2
    """,
}
CLASSIFIERS: dict[str, frozenset[str]] = {kind: frozenset(names.split()) for kind, names in _CLASSIFIES.items()}
"""The families that have a class for each kind of classification."""

_CLASSIFIER_MODULES: dict[str, frozenset[str]] = {
    "sequence_classification": frozenset({"ctrl", "modernbert-decoder"}),
    "token_classification": frozenset(
        ["biogpt", "bloom", "falcon", "gpt2", "gpt_bigcode", "gpt_neo", "gpt_neox", "mpt"]
    ),
}
"""The families whose classification module is named ``classifier``; the others name it ``score``."""

_TRANSFORMS = {"modernbert-decoder": "head"}
"""The module of ``head_transform`` in classes of classification; in those with an LM head, it has another name."""

_BIASED = {"modernbert-decoder": "head.dense_bias"}
"""The field that decides, in some families, whether the score of sequences has a bias; in others it has none."""

_TEXT_CLASSES = (
    *(
        "cohere_compass_text",
        "dots3_note_text",
        "gemma3_text",
        "gemma3n_text",
        "gemma4_text",
        "gemma4_unified_text",
        "llama4_text",
    ),
    *("minimax_m3_vl_text", "qwen3_5_moe_text", "qwen3_5_text"),
)
"""The families of a language model beside a multimodal one: Gemma3ForCausalLM, but Gemma3TextModel."""

_WITHOUT_BASE = ("llama4",)
"""The families without a base class, such as LlamaModel."""

_BASES = {"bert-generation": "BertGenerationEncoder"}
"""Classes without a head that are not named after the class with an LM head."""

TOKEN_BIAS = "token_classification_bias"
"""Whether the classification of tokens has a bias, by default true; families with a ``classifier`` do not read it."""


def class_name(family: Family, kind: HeadKind) -> str | None:
    """Return the class of a family with a kind of head; None if the family has none."""
    if kind == "lm":
        return family.architecture
    if kind == "none" and family.model_type in _WITHOUT_BASE:
        return None
    if kind == "none" and family.model_type in _BASES:
        return _BASES[family.model_type]
    if kind != "none" and family.model_type not in CLASSIFIERS[kind]:
        return None
    stem = family.architecture
    for suffix in SUFFIXES:
        stem = stem.removesuffix(suffix)
    if family.model_type in _TEXT_CLASSES:
        stem += "Text"
    return stem + next(suffix for suffix, of_kind in SUFFIXES.items() if of_kind == kind)


def class_names(family: Family) -> tuple[str, ...]:
    """Return the classes of a family, one for each kind of head that it has."""
    return tuple(name for kind in dict.fromkeys(SUFFIXES.values()) if (name := class_name(family, kind)) is not None)


def read_head(root: Node, family: Family, to: Translation, *, overridden: bool) -> None:
    """Set the head of the class that ``architectures`` names; without the key, the head is an LM head.

    Args:
        root: The object of a config.json.
        family: Its family.
        to: The translation, in which the other fields are set.
        overridden: Whether an override sets the kind, so that an unknown class is not reported.
    """
    entries = root.entries or {}
    named = _first_name(entries.get(ARCHITECTURES))
    if named is None:
        return
    name, span = named
    own: dict[str | None, HeadKind] = {class_name(family, "lm"): "lm", class_name(family, "none"): "none"}
    kind = own.get(name) or next((kind for suffix, kind in SUFFIXES.items() if name.endswith(suffix)), None)
    if kind == "none" and name not in own and _OTHER_MODELS.search(name):
        kind = None
    if kind is None or class_name(family, kind) is None:
        if not overridden:
            known = class_names(family)
            listed = f"{', '.join(known[:-1])} and {known[-1]}"
            message = f'architectures "{name}" is not supported: {family.model_type} has no such class in tinylm'
            ignore = (Setting("ignore", (ARCHITECTURES,)), f" reads it as {family.architecture}")
            help_ = Text(f"the classes of {family.model_type} are {listed}; ", *ignore)
            to.report("unsupported-setting", ARCHITECTURES, message, span, help_)
        return
    read = [ARCHITECTURES]
    if kind != "lm":
        _drop_lm_head(to, kind)
        to.put_at("head.kind", kind, span, ARCHITECTURES)
    if kind in CLASSIFIERS:
        read += _read_labels(entries, span, to)
        bias_key = entries.get(TOKEN_BIAS) if family.model_type not in _CLASSIFIER_MODULES[kind] else None
        has_bias = kind == "token_classification" and (bias_key is None or bias_key.value.plain() is not False)
        if family.model_type in _BIASED:
            has_bias = bool(to.get(_BIASED[family.model_type]))
        to.put_at("head.bias", has_bias, span if bias_key is None else bias_key.value.span, TOKEN_BIAS)
        read.append(TOKEN_BIAS)
    to.ignored = [key for key in to.ignored if key not in read]


def _first_name(entry: Entry | None) -> tuple[str, Span] | None:
    """Return the first class that ``architectures`` lists, and its position."""
    for item in (entry.value.items or []) if entry is not None else []:
        if isinstance(item.scalar, str):
            return item.scalar, item.span
    return None


def _drop_lm_head(to: Translation, kind: HeadKind) -> None:
    """Remove the fields that heads of this kind lack, and record the keys that set them as ignored."""
    removed = ["head.logit_scale", "head.logit_softcap", "head.bias"]
    if kind == "none":
        removed += ["head.dense", "head.dense_activation", "head.dense_bias"]
    if to.get("tie_weights"):
        removed.append("tie_weights")
    for field in removed:
        node = to.fields.pop(field, None)
        key = to.keys.pop(field, None)
        if node is not None and key is not None and node.span != to.family_span:
            to.ignored.append(key)


def _read_labels(entries: dict[str, Entry], span: Span, to: Translation) -> list[str]:
    """Set the number of labels, and return the keys that set it; ``num_labels`` has precedence, as in transformers."""
    given: dict[str, tuple[Any, Span]] = {}
    for key in ("num_labels", "id2label"):
        if key in entries and (value := entries[key].value.plain()) is not None:
            given[key] = (
                len(value) if key == "id2label" and isinstance(value, dict) else value,
                entries[key].value.span,
            )
    key, (value, at) = next(iter(given.items()), ("num_labels", (DEFAULT_LABELS, span)))
    to.put_at("head.n_labels", value, at, key)
    return [name for name, (number, _) in given.items() if number == value]


def head_keys(config: ModelConfig, family: Family) -> dict[str, Any]:
    """Return the keys of a config.json that :func:`read_head` reads, as far as the family has them."""
    head = config.head
    keys: dict[str, Any] = {ARCHITECTURES: [class_name(family, head.kind) or family.architecture]}
    if head.kind in CLASSIFIERS:
        keys["num_labels"] = head.n_labels
    if head.kind == "token_classification" and not head.bias:
        keys[TOKEN_BIAS] = False
    return keys


def tensor_names_of(model_type: str, config: ModelConfig) -> TensorNames:
    """Return the names of the tensors of a model, its head included.

    A checkpoint of a class without a head stores its modules without the name of the module that holds them.
    """
    names, kind = FAMILIES[model_type].keys.tensor_names_for(config), config.head.kind
    if kind == "lm":
        return names
    top_level = {module: stored for module, stored in names.top_level.items() if module != "lm_head"}
    if kind in CLASSIFIERS:
        top_level["score"] = "classifier" if model_type in _CLASSIFIER_MODULES[kind] else "score"
        if model_type in _TRANSFORMS:
            transform = _TRANSFORMS[model_type]
            top_level |= {f"head_transform.{part}": f"{transform}.{part}" for part in ("dense", "norm")}
    return names._replace(top_level=top_level)
