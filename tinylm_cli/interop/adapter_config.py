"""Read the ``adapter_config.json`` of a LoRA adapter, as peft writes it.

References:
    https://huggingface.co/docs/peft/package_reference/lora, peft 0.21
"""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from tinylm_cli.config.base import MAX_DIM
from tinylm_cli.config.diagnostic_codes import clip, config_error, diagnostic, either
from tinylm_cli.config.lora import ALL_LINEAR, LoraConfig, Name, TrainedBiases
from tinylm_cli.config.similar_names import suggest
from tinylm_cli.config.source import Source, read_source
from tinylm_cli.config.yaml_nodes import Node, describe
from tinylm_cli.errors import Diagnostic, Span
from tinylm_cli.interop import ADAPTER_FILE
from tinylm_cli.interop.config_json import read_json
from tinylm_cli.interop.module_patterns import is_safe_pattern
from tinylm_cli.interop.to_tinylm import not_an_object

LORA = "LORA"
MAX_NAMES = 100_000
"""Most names in a list: peft lists each module that an adapter of every layer has."""

OTHER_KINDS = {
    "IA3": "(IA)³",
    "PREFIX_TUNING": "prefix tuning",
    "PROMPT_TUNING": "prompt tuning",
    "P_TUNING": "p-tuning",
    "ADALORA": "AdaLoRA",
    "LOHA": "LoHa",
    "LOKR": "LoKr",
    "OFT": "OFT",
    "BOFT": "BOFT",
    "VERA": "VeRA",
    "XLORA": "X-LoRA",
}
"""Names of other adapters of peft, by ``peft_type``."""

READ = frozenset(
    [
        *("r", "rank_pattern", "target_modules", "exclude_modules", "target_parameters", "layers_to_transform"),
        *("layers_pattern", "modules_to_save", "trainable_token_indices", "bias", "lora_dropout", "use_dora"),
        *("lora_bias", "ensure_weight_tying", "base_model_name_or_path", "peft_type"),
    ]
)
"""The keys that decide which parameters an adapter has, and what its training computes."""

WITHOUT_EFFECT = frozenset(
    [
        *("lora_alpha", "alpha_pattern", "use_rslora", "fan_in_fan_out", "init_lora_weights", "task_type"),
        *("inference_mode", "auto_mapping", "revision", "peft_version", "loftq_config", "eva_config", "corda_config"),
        *("lora_ga_config", "runtime_config", "qalora_group_size", "megatron_core"),
    ]
)
"""Keys of scales, initial values and the loading of an adapter, which change neither its parameters nor their cost."""

UNSUPPORTED = frozenset(
    [
        *("layer_replication", "megatron_config", "use_bdlora", "arrow_config", "use_qalora"),
        *("alora_invocation_tokens", "velora_config", "kasa_config", "monteclora_config"),
    ]
)
"""Keys of variants of LoRA that have other parameters or another forward pass."""


def read_adapter(reference: str) -> LoraConfig:
    """Read an ``adapter_config.json``, or the one in a folder.

    Raises:
        ConfigError: If it is invalid, or no LoRA adapter.
        InputError: If it cannot be read.
    """
    source = read_source(str(Path(reference) / ADAPTER_FILE) if Path(reference).is_dir() else reference)
    return parse_adapter(source)


def parse_adapter(source: Source) -> LoraConfig:
    """Read the text of an ``adapter_config.json``; see :func:`read_adapter`."""
    document = read_json(source)
    root = document.root
    if root is None or root.entries is None:
        raise config_error([*document.diagnostics, not_an_object(root, source)])
    return adapter_of(root, source.name, document.diagnostics)


def adapter_of(root: Node, source: str, errors: list[Diagnostic] | None = None) -> LoraConfig:
    """Return the settings of the tree of an ``adapter_config.json``.

    Args:
        root: The root object.
        source: Name of the file, or of the argument.
        errors: Diagnostics found so far.

    Raises:
        ConfigError: If it is invalid, or no LoRA adapter.
    """
    keys = _Keys(root, source, errors or [])
    keys.require_lora()
    keys.require_known()
    targets, pattern = keys.names_or_pattern("target_modules")
    excluded, exclude_pattern = keys.names_or_pattern("exclude_modules")
    parameters = keys.names("target_parameters")
    if targets is None and pattern is None and not parameters:
        keys.report("missing-key", "target_modules", "target_modules is missing", root.span._replace(text=""), _EXAMPLE)
    lora = LoraConfig(
        source=source,
        rank=keys.rank("r", 8),
        target_modules=targets,
        target_pattern=pattern,
        exclude_modules=excluded or (),
        exclude_pattern=exclude_pattern,
        target_parameters=parameters,
        layers_to_transform=keys.indices("layers_to_transform"),
        layers_pattern=keys.names("layers_pattern"),
        rank_pattern=keys.rank_pattern(),
        modules_to_save=keys.names("modules_to_save"),
        token_indices=keys.token_indices(),
        bias=keys.bias(),
        dropout=keys.dropout(),
        use_dora=keys.flag("use_dora"),
        lora_bias=keys.flag("lora_bias"),
        ensure_weight_tying=keys.flag("ensure_weight_tying"),
        base_model=keys.text("base_model_name_or_path"),
    )
    if keys.errors:
        raise config_error(keys.errors)
    return lora


_EXAMPLE = 'for example "target_modules": ["q_proj", "v_proj"], or "all-linear"'


class _Keys:
    """The keys of an ``adapter_config.json``, and the errors found in them."""

    def __init__(self, root: Node, source: str, errors: list[Diagnostic]) -> None:
        self.root, self.source, self.errors = root, source, errors

    def report(self, code: str, field: str, message: str, span: Span, remedy: str) -> None:
        """Add a diagnostic."""
        self.errors.append(diagnostic(code, message, self.source, span, field=field, help=remedy))

    def value(self, key: str) -> Node | None:
        """Return the value of a key; None if it is absent or null."""
        entry = (self.root.entries or {}).get(key)
        if entry is None:
            return None
        value = entry.value
        is_null = value.scalar is None and value.entries is None and value.items is None
        return None if is_null or value.reported else value

    def wrong(self, key: str, value: Node, expected: str, remedy: str, code: str = "wrong-type") -> None:
        """Report a value that is not what its key takes."""
        self.report(code, key, f"{key} must be {expected}, not {describe(value)}", value.span, remedy)

    def require_lora(self) -> None:
        """Check the kind of the adapter.

        Raises:
            ConfigError: If it is not LoRA.
        """
        value = self.value("peft_type")
        if value is None:
            return
        name = str(value.scalar).upper()
        if name != LORA:
            kind = OTHER_KINDS.get(name, clip(str(value.scalar)))
            message = f"this adapter is {kind}, which is not supported"
            remedy = 'tinylm reads LoRA adapters: "peft_type": "LORA"'
            self.report("unsupported-setting", "peft_type", message, value.span, remedy)
            raise config_error(self.errors)

    def require_known(self) -> None:
        """Report keys of variants of LoRA, and keys that are not known, unless they are unset."""
        for key, entry in (self.root.entries or {}).items():
            if key in READ or key in WITHOUT_EFFECT or not entry.value.plain():
                continue
            if key in UNSUPPORTED:
                message = f"{key} is a variant of LoRA that is not supported"
                self.report("unsupported-setting", key, message, entry.key_span, "remove it to count plain LoRA")
                continue
            known = suggest(key, sorted(READ | WITHOUT_EFFECT), 0.75)
            aliases = {"rank": "r", "targets": "target_modules", "dropout": "lora_dropout", "alpha": "lora_alpha"}
            meant = aliases.get(key) or known
            remedy = f"did you mean {meant}?" if meant else "remove it if it adds no parameters"
            self.report("unknown-key", key, f"unknown key {clip(key)} of a LoRA adapter", entry.key_span, remedy)

    def rank(self, key: str, default: int) -> int:
        """Return a rank."""
        value = self.value(key)
        return default if value is None else self._rank(key, value)

    def _rank(self, key: str, value: Node) -> int:
        rank = value.scalar
        if isinstance(rank, bool) or not isinstance(rank, int):
            self.wrong(key, value, "an integer", "for example 16")
        elif not 1 <= rank <= MAX_DIM:
            self.wrong(key, value, f"from 1 to {MAX_DIM:,}", "for example 16", "out-of-range")
        else:
            return rank
        return 1

    def rank_pattern(self) -> tuple[tuple[Name, int], ...]:
        """Return the ranks of ``rank_pattern``."""
        value = self.value("rank_pattern")
        if value is None:
            return ()
        if value.entries is None:
            self.wrong("rank_pattern", value, "an object", 'for example {"q_proj": 32}')
            return ()
        found = []
        for key, entry in value.entries.items():
            name = Name(key, entry.key_span)
            self._require_safe("rank_pattern", name)
            found.append((name, self._rank(f"rank_pattern.{key}", entry.value)))
        return tuple(found)

    def names(self, key: str) -> tuple[Name, ...]:
        """Return the names of a list, or a single one."""
        value = self.value(key)
        if value is None:
            return ()
        return self._names(key, [value] if isinstance(value.scalar, str) else value.items, value)

    def _names(self, key: str, items: list[Node] | None, value: Node) -> tuple[Name, ...]:
        if items is None or any(not isinstance(item.scalar, str) or not item.scalar for item in items):
            self.wrong(key, value, "a list of names", 'for example ["q_proj", "v_proj"]')
            return ()
        if len(items) > MAX_NAMES:
            message = f"{key} has {len(items):,} names; the maximum is {MAX_NAMES:,}"
            self.report("out-of-range", key, message, value.span, "name the last part of each module once: q_proj")
            return ()
        return tuple(Name(str(item.scalar), item.span) for item in items)

    def names_or_pattern(self, key: str) -> tuple[tuple[Name, ...] | None, Name | None]:
        """Return the names of a list, or a regular expression; None for what the key does not have."""
        value = self.value(key)
        if value is None:
            return None, None
        if not isinstance(value.scalar, str):
            return self._names(key, value.items, value), None
        pattern = Name(value.scalar, value.span)
        if value.scalar.lower() == ALL_LINEAR and key == "target_modules":
            return None, pattern._replace(text=ALL_LINEAR)
        self._require_safe(key, pattern)
        return None, pattern

    def _require_safe(self, key: str, pattern: Name) -> None:
        if not is_safe_pattern(pattern.text):
            message = f"{key} {clip(pattern.text)} is not a regular expression that tinylm reads"
            remedy = "repeat no group, and write at most 5 repetitions such as .* in a row; or list the names"
            self.report("unsupported-setting", key, message, pattern.span, remedy)

    def indices(self, key: str) -> tuple[int, ...]:
        """Return the indices of a list, or a single one."""
        value = self.value(key)
        if value is None:
            return ()
        items = value.items if value.items is not None else [value]
        if any(isinstance(item.scalar, bool) or not isinstance(item.scalar, int) for item in items):
            self.wrong(key, value, "a list of integers", "for example [0, 1, 2]")
            return ()
        return tuple(item.scalar for item in items if isinstance(item.scalar, int))

    def token_indices(self) -> tuple[tuple[Name, int], ...]:
        """Return the embeddings of which some rows are trained; an empty name is the token embedding."""
        key = "trainable_token_indices"
        value = self.value(key)
        if value is None:
            return ()
        if value.items is not None:
            return ((Name("", value.span), len(value.items)),)
        entries = value.entries or {}
        if not entries or any(entry.value.items is None for entry in entries.values()):
            self.wrong(key, value, "a list of token ids, or a list for each embedding", "for example [128000, 128001]")
            return ()
        return tuple((Name(name, entry.key_span), len(entry.value.items or ())) for name, entry in entries.items())

    def bias(self) -> TrainedBiases:
        """Return which biases of the base model are trained."""
        value, choices = self.value("bias"), get_args(TrainedBiases)
        found: TrainedBiases = next((each for each in choices if value is not None and each == value.scalar), "none")
        if value is not None and value.scalar not in choices:
            self.wrong("bias", value, either(choices), 'for example "none"', "unknown-choice")
        return found

    def dropout(self) -> float:
        """Return the dropout before A."""
        value = self.value("lora_dropout")
        if value is None:
            return 0.0
        dropout = value.scalar
        if isinstance(dropout, bool) or not isinstance(dropout, int | float):
            self.wrong("lora_dropout", value, "a number", "for example 0.05")
        elif not 0 <= dropout < 1:
            self.wrong("lora_dropout", value, "at least 0 and below 1", "for example 0.05", "out-of-range")
        else:
            return float(dropout)
        return 0.0

    def flag(self, key: str) -> bool:
        """Return a boolean, by default false."""
        value = self.value(key)
        if value is not None and not isinstance(value.scalar, bool):
            self.wrong(key, value, "true or false", f'for example "{key}": true')
        return value is not None and value.scalar is True

    def text(self, key: str) -> str:
        """Return a text, by default empty."""
        value = self.value(key)
        return value.scalar if value is not None and isinstance(value.scalar, str) else ""
