"""Checks of tensor parallelism: whether heads, hidden sizes and the vocabulary divide by the number of GPUs.

References:
    Shoeybi et al. 2019, section 3 (tensor parallelism), https://arxiv.org/abs/1909.08053
"""

from __future__ import annotations

from collections.abc import Iterator
from math import gcd

from tinylm_cli.analysis.portability.dimensions import Dimension, dimensions, field_of, kinds_of
from tinylm_cli.analysis.portability.engines import SHAPES
from tinylm_cli.analysis.portability.findings import Request, titles
from tinylm_cli.analysis.portability.multiples import BEST
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.reports.lint import Finding, Target
from tinylm_cli.wording import Setting, Text


def tensor_parallel_findings(request: Request) -> Iterator[Finding]:
    """Yield what keeps the targets from splitting the model over ``tp`` GPUs, and what is stored several times."""
    yield from _padded_vocabulary(request)
    if request.tp == 1:
        return
    unsplit = [each.target for each in request.expressions if each.expressed_as and not each.splits_tensors]
    if unsplit:
        message = f"{titles(unsplit)} does not split the tensors of this model over GPUs, only its layers"
        yield request.finding("no-tensor-split", unsplit, "", message, severity="warning")
    targets = [target for target in request.targets if SHAPES[target].splits]
    if not targets:
        return
    for name, kind in kinds_of(request.config):
        if "attention" in kind.block.mixers:
            yield from _heads(request, targets, name, kind)
        if "mamba2" in kind.block.mixers:
            yield from _state_heads(request, targets, name, kind)
    for dimension in dimensions(request.config):
        if dimension.field == "vocab_size":
            yield from _vocabulary(request, targets, dimension)
        elif dimension.is_split and dimension.size % request.tp:
            message = f"{dimension.field} {dimension.size:,} is not divisible by {_gpus(request, targets)}"
            padded = request.padding(dimension, BEST * request.tp)
            yield request.finding("tp-feed-forward", targets, dimension.field, message, padded=padded)


def _heads(request: Request, targets: list[Target], name: str, kind: ModelConfig) -> Iterator[Finding]:
    tp, gpus = request.tp, _gpus(request, targets)
    field = field_of(request.config, name, "n_heads")
    if kind.n_heads % tp:
        message = f"n_heads {kind.n_heads} is not divisible by {gpus}"
        yield request.finding("tp-heads", targets, field, message, remedy=_fewer_gpus(kind.n_heads, tp))
    caching = [target for target in targets if SHAPES[target].caches]
    if kind.attention.kind == "latent":
        message = (
            f"each of {_gpus(request, caching)} stores the compressed keys and values of all heads: {tp} times the KV"
            " cache"
        )
        place = field_of(request.config, name, "attention.kind")
        yield request.finding("tp-kv-replication", caching, place, message, severity="warning")
        return
    field = field_of(request.config, name, "attention.n_kv_heads")
    n_kv_heads = kind.n_kv_heads
    if n_kv_heads >= tp and n_kv_heads % tp and kind.n_heads % tp == 0:
        message = f"attention.n_kv_heads {n_kv_heads} is not divisible by {gpus}"
        yield request.finding("tp-kv-heads", targets, field, message, remedy=_fewer_gpus(n_kv_heads, tp))
    elif n_kv_heads < tp and tp % n_kv_heads:
        message = f"{gpus} cannot store equal numbers of copies of {n_kv_heads} KV heads"
        yield request.finding("tp-kv-heads", targets, field, message, remedy=_fewer_gpus(n_kv_heads, tp))
    elif n_kv_heads < tp and caching:
        heads = "the KV head" if n_kv_heads == 1 else f"each of the {n_kv_heads} KV heads"
        copies = tp // n_kv_heads
        message = f"{_gpus(request, caching)} store {heads} {copies} times: {copies} times the KV cache"
        remedy = Text("use ", Setting("tp", n_kv_heads), ", or as many KV heads as GPUs") if n_kv_heads > 1 else ""
        yield request.finding("tp-kv-replication", caching, field, message, severity="warning", remedy=remedy)


def _state_heads(request: Request, targets: list[Target], name: str, kind: ModelConfig) -> Iterator[Finding]:
    tp, n_groups = request.tp, kind.mamba2.n_groups
    if kind.mamba2_heads % tp:
        message = f"{kind.mamba2_heads} heads of Mamba-2 are not divisible by {_gpus(request, targets)}"
        field = field_of(request.config, name, "mamba2.n_heads")
        yield request.finding("tp-state-heads", targets, field, message, remedy=_fewer_gpus(kind.mamba2_heads, tp))
    if n_groups % tp and n_groups != 1:
        message = f"mamba2.n_groups {n_groups} is neither 1 nor divisible by {_gpus(request, targets)}"
        field = field_of(request.config, name, "mamba2.n_groups")
        yield request.finding("tp-state-heads", targets, field, message, remedy=_fewer_gpus(n_groups, tp))


def _vocabulary(request: Request, targets: list[Target], dimension: Dimension) -> Iterator[Finding]:
    """Yield the targets that cannot split the vocabulary, padded to their multiple."""
    for target in targets:
        if SHAPES[target].pads_each_part:
            continue
        multiple = SHAPES[target].vocab_multiple
        rows = -(-dimension.size // multiple) * multiple
        if rows % request.tp:
            padded = f", padded to {rows:,}," if rows > dimension.size else ""
            message = f"vocab_size {dimension.size:,}{padded} is not divisible by {_gpus(request, [target])}"
            cost = request.padding(dimension, multiple * request.tp // gcd(multiple, request.tp))
            yield request.finding("tp-vocabulary", [target], "vocab_size", message, padded=cost)


def _padded_vocabulary(request: Request) -> Iterator[Finding]:
    """Yield the targets that pad the vocabulary, with the cost of the padded rows."""
    size = request.config.vocab_size
    for target in request.targets:
        shapes = SHAPES[target]
        multiple = shapes.vocab_multiple * (request.tp if shapes.pads_each_part else 1)
        if size % multiple:
            rows = -(-size // multiple) * multiple
            message = f"{shapes.title} pads vocab_size {size:,} to {rows:,}, a multiple of {multiple:,}"
            padded = request.padding(Dimension("vocab_size", size, True), multiple)
            yield request.finding("vocabulary-padding", [target], "vocab_size", message, severity="note", padded=padded)


def _gpus(request: Request, targets: list[Target]) -> str:
    return f"the {request.tp} GPUs of {titles(targets)}"


def _fewer_gpus(number: int, tp: int) -> Text:
    """Return the largest number of GPUs below ``tp`` that divides a number."""
    divisor = max(each for each in range(1, tp) if number % each == 0)
    return Text("use ", Setting("tp", divisor))
