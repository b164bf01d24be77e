"""Find the modules that a quantized checkpoint does not convert, by tinylm's names.

A checkpoint names modules as its family does, by full names, suffixes and patterns.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate
from typing import NamedTuple

from tinylm_cli.config.diagnostic_codes import clip
from tinylm_cli.config.layer_kinds import layer_pattern
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.config.storage import HEAD_MODULES
from tinylm_cli.interop.quantization_config import NAME, Skipped
from tinylm_cli.interop.tensor_names import TensorNames, replace_prefix

MAX_QUANTIFIERS = 6
"""Most ``*`` and ``+`` in a pattern of a file: more could make a match take very long."""

_SAFE = re.compile(r"(?:[\w/-]|\\[.d]\+?|\[0-9\][+*]?|\.[*+]?|[$^|]|\((?:\?:)?|\)(?![*+?{]))*", re.ASCII)
"""Regular expressions without repeated groups, which match in a time that does not explode."""

_PLAIN = re.compile(r"[\w.-]*", re.ASCII)

REGEX = "re:"
"""Prefix of a regular expression in compressed-tensors."""

EXPERTS = "feed_forward.experts."

_LINEAR = ("_proj", "indexer.wq_b", "indexer.wk", "per_layer_input.gate", "per_layer_input.projection")
"""Endings of the names of linear modules of a layer."""

_Matches = Callable[[str], bool]


class Unconverted(NamedTuple):
    """The modules that are not quantized."""

    names: tuple[str, ...]  # Values of ``storage.modules_to_not_convert``.
    unread: tuple[str, ...]  # Sentences about patterns that are not understood.


def unconverted_modules(config: ModelConfig, names: TensorNames, skipped: Skipped) -> Unconverted:
    """Return the modules of a model that a checkpoint does not convert.

    Args:
        config: The model's config.
        names: The tensor names of its family.
        skipped: The modules that the checkpoint names.
    """
    matches, unread = _matcher(skipped.names, skipped.syntax)
    is_target, unread_targets = _matcher(skipped.targets, "compressed-tensors")

    def keeps(module: str, stored: str) -> bool:
        spelled = [stored, *(replace_prefix(each, stored) for each in names.prefix_maps)]
        if any(map(matches, spelled)) or (skipped.only_experts and not module.startswith(EXPERTS)):
            return True
        return bool(skipped.targets) and not any(map(is_target, spelled))

    head = names.top_level.get("lm_head", "lm_head")
    keeps_head = skipped.keeps_head or config.tie_weights or keeps("lm_head", head)
    found: list[str] = [*HEAD_MODULES] if keeps_head else []
    has_indices = any(map(str.isdigit, "".join((*skipped.names, *skipped.targets))))
    layers = range(config.n_layers if has_indices else 1)
    kept = {
        module: frozenset(layer for layer in layers if keeps(module, _stored_name(names, stored, layer)))
        for module, stored in _linear_modules(names)
        if _exists(module, config)
    }
    found += _patterns("", kept, len(layers))
    return Unconverted(tuple(found), (*unread, *unread_targets))


def _linear_modules(names: TensorNames) -> Iterator[tuple[str, str]]:
    """Yield each linear module of a layer, and the stored module that contains it."""
    modules = dict(names.layer) | dict(names.experts)
    modules |= {module: fused.stored for fused in names.fused for module in fused.names}
    tensors = {tensor: fused.stored for fused in names.tensors for tensor in fused.names}
    tensors |= {split.name: split.stored[0] for split in names.splits}
    for tensor, stored in tensors.items():
        if tensor.endswith(".weight"):
            modules[tensor.removesuffix(".weight")] = stored.removesuffix(".weight")
    yield from ((module, stored) for module, stored in modules.items() if module.endswith(_LINEAR))


def _exists(module: str, config: ModelConfig) -> bool:
    """Return whether some layer has a module; a family's names include both dense networks and experts."""
    has_experts = {kind.feed_forward.n_experts is not None for kind in layer_pattern(config).kinds}
    if module.startswith(EXPERTS):
        return True in has_experts
    return module.count(".") > 1 or not module.startswith("feed_forward.") or False in has_experts


def _stored_name(names: TensorNames, stored: str, layer: int) -> str:
    """Return the full name of a stored module; of several experts, the first."""
    index, sublayer = divmod(layer, names.n_sublayers)
    return names.prefix.format(i=index) + stored.replace("{s}", str(sublayer)).replace("{e}", "0")


def _patterns(prefix: str, kept: Mapping[str, frozenset[int]], n_layers: int) -> Iterator[str]:
    """Yield the shortest patterns of the modules that are kept, of those below ``prefix``."""
    sets = set(kept.values())
    if len(sets) == 1:
        (layers,) = sets
        end = f".{prefix}" if prefix else ""
        indices: Iterable[object] = ("*",) if len(layers) == n_layers else sorted(layers)
        yield from (f"blocks.{index}{end}" for index in indices)
        return
    groups: dict[str, dict[str, frozenset[int]]] = {}
    for module, layers in kept.items():
        rest = module.removeprefix(prefix).lstrip(".")
        groups.setdefault(f"{prefix}.{rest.partition('.')[0]}".lstrip("."), {})[module] = layers
    for name, inside in groups.items():
        yield from _patterns(name, inside, n_layers)


def _matcher(names: tuple[str, ...], syntax: str) -> tuple[_Matches, tuple[str, ...]]:
    """Return a function that tells whether a stored module is named, and sentences about unread patterns.

    A file may list tens of thousands of names, so that only patterns are tried one after the other.
    """
    plain = {name for name in names if name and _pattern(name, syntax) is None}
    endings = set(filter(None, names)) if syntax == "transformers" else set()
    patterns: list[str] = []
    unread = []
    for name in names:
        pattern = _pattern(name, syntax)
        if pattern is not None and _is_safe(pattern):
            patterns.append(pattern)
        elif pattern is not None:
            unread.append(f"{NAME}: the pattern {clip(name)} is not understood: its modules count as quantized")
    compiled = re.compile("|".join(patterns) or r"(?!)")

    def matches(name: str) -> bool:
        outer = accumulate(name.split("."), "{}.{}".format) if syntax != "compressed-tensors" else ()
        return (
            name in plain
            or not plain.isdisjoint(outer)
            or any(name[start:] in endings for start in range(len(name)) if endings)
            or compiled.match(name) is not None
        )

    return matches, tuple(unread)


def _pattern(name: str, syntax: str) -> str | None:
    """Return the regular expression of a name, which matches from the start; None for the name of a module.

    References:
        transformers 5.24, quantizers/quantizers_utils.py, ``should_convert_module``;
        https://github.com/vllm-project/compressed-tensors/blob/main/src/compressed_tensors/utils/match.py
    """
    if syntax == "compressed-tensors":
        return name.removeprefix(REGEX) if name.startswith(REGEX) else None
    if _PLAIN.fullmatch(name):
        return None
    if syntax == "transformers":
        return rf"(?:{name})(?:(?<=\.)|(?=\.|$))"
    return re.escape(name).replace(r"\*", ".*") + r"(?:\.|$)"


def _is_safe(pattern: str) -> bool:
    own = pattern.removeprefix("(?:").removesuffix(r")(?:(?<=\.)|(?=\.|$))")
    if not _SAFE.fullmatch(own) or own.count("*") + own.count("+") > MAX_QUANTIFIERS:
        return False
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True
