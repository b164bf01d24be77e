"""The parameters of low-rank adapters: how many are trained, by module and by tensor."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Iterator
from itertools import groupby
from math import prod
from typing import TypeVar

from tinylm_cli.analysis.dtypes import FLOAT32_BYTES
from tinylm_cli.config.lora import Lora
from tinylm_cli.quantities import index_ranges
from tinylm_cli.reports.params import LoraModuleParams, LoraParams, LoraTensor

Key = TypeVar("Key", bound=Hashable)

_LAYER = re.compile(r"\.(\d+)(?=\.)")
"""The first index in the name of a module is that of its layer."""


def lora_params(lora: Lora, base_params: int, *, tensors: bool = False, expand: bool = False) -> LoraParams:
    """Return the trained parameters of a model with adapters.

    Args:
        lora: The adapters.
        base_params: Parameters of the model.
        tensors: Whether to list the tensors of the adapters.
        expand: Whether to list the tensors of each layer.
    """
    trainable = lora.trainable_params
    total = base_params + lora.adapter_params + lora.saved_params
    sizes = (
        (each.name, (each.n_experts, each.d_in, each.d_out, each.rank, lora.module_params(each)))
        for each in lora.modules
    )
    modules = tuple(
        LoraModuleParams(name, count, n_experts, d_in, d_out, rank, count * params, count * params / trainable)
        for name, count, (n_experts, d_in, d_out, rank, params) in _alike(sizes)
    )
    listed = lora.tensors() if tensors else ()
    alike = ((name, 1, shape) for name, shape in listed) if expand else _alike(listed)
    return LoraParams(
        source=lora.config.source,
        rank=lora.config.rank,
        trainable_params=trainable,
        total_params=total,
        trainable_share=trainable / total,
        adapter_params=lora.adapter_params,
        saved_params=lora.saved_params,
        bias_params=lora.bias_params,
        adapter_bytes=trainable * FLOAT32_BYTES,
        modules=modules,
        tensors=tuple(LoraTensor(name, count, shape, count * prod(shape)) for name, count, shape in alike),
        notes=tuple(_notes(modules)),
    )


def _alike(named: Iterable[tuple[str, Key]]) -> Iterator[tuple[str, int, Key]]:
    """Yield names with equal keys that differ in their layer only as one, with their number and key."""
    groups: dict[tuple[str, Key], list[int]] = {}
    for name, key in named:
        match = _LAYER.search(name)
        pattern = name if match is None else f"{name[: match.start(1)]}\0{name[match.end(1) :]}"
        groups.setdefault((pattern, key), []).append(0 if match is None else int(match[1]))
    for (pattern, key), layers in groups.items():
        text = index_ranges(_ranges(layers))
        yield pattern.replace("\0", f"{{{text}}}" if len(layers) > 1 else text), len(layers), key


def _ranges(layers: list[int]) -> list[range]:
    """Return the ranges of consecutive numbers in an ascending list."""
    runs = groupby(enumerate(layers), lambda each: each[1] - each[0])
    return [range(run[0][1], run[-1][1] + 1) for run in (list(group) for _, group in runs)]


def _notes(modules: Iterable[LoraModuleParams]) -> Iterator[str]:
    """Yield a sentence about each rank above that of the matrix it adapts."""
    for each in modules:
        full = min(each.d_in, each.d_out)
        if each.rank > full:
            yield f"rank {each.rank:,} is above the rank of {each.name}, which is at most {full:,}"
