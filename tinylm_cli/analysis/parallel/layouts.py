"""Parallel layouts: the sizes that a layout must divide, and the enumeration of layouts for a number of GPUs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from math import gcd, isqrt
from typing import NamedTuple, get_args

from tinylm_cli.analysis.mixers import mixer_of
from tinylm_cli.analysis.parallel.sharding import missing_layers
from tinylm_cli.analysis.setups import TrainingSetup
from tinylm_cli.config.layer_kinds import LayerRead, layer_pattern, layer_reads, shared_blocks
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import AnalysisError
from tinylm_cli.reports.plan import Layout, ZeroStage

LARGEST_TENSOR_PARALLEL = 8
"""Tensor parallelism beyond one node is limited by the network (Narayanan et al. 2021, section 3.2)."""

ZERO_STAGES: tuple[ZeroStage, ...] = get_args(ZeroStage)

MAX_MISSING_LAYERS = 2
"""The first and the last pipeline stage may each have one layer fewer than the others."""

TOKENS_PER_STEP = 2**22
"""Default global batch, about 4M tokens: Llama 3 405B starts with it (Grattafiori et al. 2024, section 3.4.1,
https://arxiv.org/abs/2407.21783). GPT-3 used 3.2M (Brown et al. 2020, table 2.1, https://arxiv.org/abs/2005.14165)."""


class LayoutMismatch(NamedTuple):
    """A degree of a layout that does not divide a size of the model or the batch."""

    field: str  # the field of the layout
    config_field: str  # the dotted field of the config that it does not divide, ``seq_len``, or empty
    message: str  # the degree and the size that it does not divide
    help: str  # valid values


def layout_mismatches(config: ModelConfig, setup: TrainingSetup, layout: Layout) -> tuple[LayoutMismatch, ...]:
    """Return every size that ``layout`` does not divide evenly, in the order of its fields."""
    return tuple(_mismatches(config, setup, layout))


def global_batch_size(config: ModelConfig, setup: TrainingSetup) -> int:
    """Return the sequences per optimizer step: the setup's value, or about ``TOKENS_PER_STEP`` tokens.

    The default is a multiple of ``batch_size · n_gpus``, so that every data-parallel degree divides it.
    """
    if setup.global_batch_size is not None:
        return setup.global_batch_size
    per_pass = setup.batch_size * setup.n_gpus  # sequences
    return per_pass * -(-TOKENS_PER_STEP // (per_pass * setup.length(config)))


def with_micro_batches(config: ModelConfig, setup: TrainingSetup, layout: Layout) -> Layout:
    """Return the layout with the number of micro-batches that the global batch implies, unless the layout states it.

    Raises:
        AnalysisError: If the replicas do not divide the global batch evenly.
    """
    if not setup.derives_micro_batches:
        return layout
    sequences = global_batch_size(config, setup)
    micro_batches, remainder = divmod(sequences, layout.data * setup.batch_size)
    if remainder:
        message = f"a global batch of {sequences:,} is not a multiple of {layout.data} replicas × {setup.batch_size}"
        raise AnalysisError(message, help="change the global batch")
    return replace(layout, micro_batches=micro_batches)


def layouts(config: ModelConfig, setup: TrainingSetup, gpus_per_node: int) -> Iterator[Layout]:
    """Yield every layout of the setup's GPUs that a search tries, all with the same global batch size.

    These are all combinations of data, tensor, pipeline and context parallelism that divide the model, with every ZeRO
    stage and every expert-parallel degree. Tensor parallelism stays within a node; stages are not interleaved.
    """
    gpus, sequences, seq_len = setup.n_gpus, global_batch_size(config, setup), setup.length(config)
    kinds = layer_pattern(config).kinds
    sizes = {size for kind in kinds for _, _, size in _tensor_parallel_sizes(kind)}
    experts = gcd(*_expert_counts(kinds)) or 1
    longest_context = 1 if any(map(_reads_in_order, kinds)) else max(seq_len // 2, 1)
    max_tensor = min(gpus_per_node, LARGEST_TENSOR_PARALLEL)

    def divides(layout: Layout) -> bool:
        return not layout_mismatches(config, setup, layout)

    for tensor in _divisors(gcd(gpus, *sizes), max_tensor):
        if not divides(Layout(tensor=tensor)):
            continue
        for pipeline in _divisors(gpus // tensor, config.n_layers):
            if not divides(Layout(pipeline=pipeline)):
                continue
            for context in _divisors(gcd(gpus // tensor // pipeline, seq_len), longest_context):
                data = gpus // tensor // pipeline // context
                micro_batches, remainder = divmod(sequences, data * setup.batch_size)
                if remainder:
                    continue
                replicas = data * context
                for expert in _divisors(gcd(replicas, experts), replicas):
                    for zero in ZERO_STAGES if replicas > 1 else ZERO_STAGES[:1]:
                        yield Layout(data, tensor, pipeline, context, expert, zero, micro_batches)


def _mismatches(config: ModelConfig, setup: TrainingSetup, layout: Layout) -> Iterator[LayoutMismatch]:
    kinds = layer_pattern(config).kinds
    sizes = [size for kind in kinds for size in _tensor_parallel_sizes(kind)]
    sizes.append(("context", "seq_len", setup.length(config)))
    sizes += [("expert", "feed_forward.n_experts", n_experts) for n_experts in _expert_counts(kinds)]
    for field, name, size in dict.fromkeys(sizes):
        degree = getattr(layout, field)
        if size % degree:
            near = ", ".join(map(str, _divisors(size, 4 * degree)[-4:]))
            message = f"{field} parallelism {degree} does not divide {name} {size}"
            yield LayoutMismatch(field, name, message, f"nearby divisors: {near}")
    if layout.pipeline > 1 and (unsupported := tuple(_unsupported_in_stages(config))):
        yield from unsupported
    else:
        yield from tuple(_uneven_stages(config, layout)) or _separated_layers(config, layout)
    whole = [each for kind in kinds if (each := _reads_in_order(kind))]
    if layout.context > 1 and whole:
        field, named = whole[0]
        message = f"context parallelism {layout.context} shards sequences, which {named} reads in order"
        yield LayoutMismatch("context", field, message, "shard the model instead, or the batch")
    replicas = layout.data * layout.context
    if layout.expert > 1 and not _expert_counts(kinds):
        message = f"expert parallelism {layout.expert} needs a mixture of experts"
        yield LayoutMismatch("expert", "feed_forward.n_experts", message, "remove it")
    elif replicas % layout.expert:
        message = f"expert parallelism {layout.expert} does not divide the {replicas} GPUs of data × context"
        yield LayoutMismatch("expert", "", message, "experts are sharded among these GPUs")


def _reads_in_order(kind: ModelConfig) -> tuple[str, str] | None:
    """Return the field that makes layers of a kind read a sequence in order, and its value in words; None if none."""
    if not mixer_of(kind).supports_context_parallel:
        return "block.mixer", f"block.mixer {kind.block.mixer}"
    return ("feed_forward.channel_mixing",) * 2 if kind.feed_forward.channel_mixing else None


def _tensor_parallel_sizes(kind: ModelConfig) -> Iterator[tuple[str, str, int]]:
    """Yield the sizes of a layer that tensor parallelism divides, each as (degree, field, size)."""
    for name, size in mixer_of(kind).tensor_parallel_sizes(kind):
        yield "tensor", name, size
    if not kind.block.feed_forward:
        return
    if kind.feed_forward.n_experts is None:
        yield "tensor", "d_ff", kind.d_ff
    else:
        yield "tensor", "feed_forward.d_expert", kind.d_expert


def _expert_counts(kinds: Iterable[ModelConfig]) -> list[int]:
    """Return the number of experts of each kind of layer that has any."""
    return [kind.feed_forward.n_experts for kind in kinds if kind.feed_forward.n_experts is not None]


def _unsupported_in_stages(config: ModelConfig) -> Iterator[LayoutMismatch]:
    """Yield what no stage of a pipeline has: stages send hidden states only."""
    for is_used, field, why in (
        (config.embedding.d_per_layer is not None, "embedding.d_per_layer", "the first stage computes it for all"),
        (bool(shared_blocks(config)), "block.shared_block", "stages send no token embeddings"),
        (config.loop.n_loops is not None, "loop.n_loops", "a token would pass each stage several times"),
    ):
        if is_used:
            message = f"pipeline parallelism is not supported with {field}: {why}"
            yield LayoutMismatch("pipeline", field, message, "use tensor or data parallelism")


@lru_cache(maxsize=256)
def _reads_across(config: ModelConfig) -> Mapping[int, LayerRead]:
    """Return the layers before which no stage may begin, each with what a later layer reads of an earlier one.

    Stages send hidden states only.
    """
    found: dict[int, LayerRead] = {}
    last = 0  # the last layer in it
    for each in sorted(layer_reads(config), key=lambda read: read.source):
        found |= dict.fromkeys(range(max(each.source, last) + 1, each.last_reader + 1), each)
        last = max(last, each.last_reader)
    return found


def _separated_layers(config: ModelConfig, layout: Layout) -> Iterator[LayoutMismatch]:
    """Yield the first stage that begins between a layer and one that reads more of it than hidden states."""
    across = _reads_across(config)
    read = next((across[layer] for layer in _chunk_starts(config, layout) if layer in across), None)
    if read is None:
        return
    message = (
        f"pipeline parallelism {layout.pipeline} separates layer {read.last_reader} from layer {read.source}, whose"
        f" {read.what} it reads: stages send hidden states only"
    )
    stages = _divisors(config.n_layers, 4 * layout.pipeline)
    valid = [n for n in stages if n > 1 and not across.keys() & set(_chunk_starts(config, Layout(pipeline=n)))]
    remedy = f"stages that do not: {', '.join(map(str, valid[-4:]))}" if valid else "use tensor or data parallelism"
    yield LayoutMismatch("pipeline", read.field, message, remedy)


def _chunk_starts(config: ModelConfig, layout: Layout) -> range:
    """Return the first layer of each chunk but the first, for chunks that are even but for one missing layer."""
    missing, chunks = missing_layers(config, layout), layout.pipeline * layout.virtual
    per_chunk = (config.n_layers + missing) // chunks
    return range(per_chunk - missing // 2, config.n_layers, per_chunk)


def _uneven_stages(config: ModelConfig, layout: Layout) -> Iterator[LayoutMismatch]:
    layers, stages, chunks = config.n_layers, layout.pipeline, layout.virtual
    if missing_layers(config, layout) > MAX_MISSING_LAYERS or stages > layers:
        what = f"pipeline parallelism {stages}" + (f" in {chunks} chunks per stage" if chunks > 1 else "")
        valid = range(2 if chunks > 1 else 1, min(layers // chunks, 4 * stages) + 1)
        near = {
            n // chunks
            for missing in range(MAX_MISSING_LAYERS + 1)
            for n in _divisors(layers + missing, valid.stop * chunks)
            if n % chunks == 0 and n // chunks in valid
        }
        remedy = (
            f"nearby stages: {', '.join(map(str, sorted(near)[-4:]))}; the first and the last may have one layer fewer"
            if near
            else "use fewer chunks"
        )
        yield LayoutMismatch("pipeline", "n_layers", f"{what} does not divide n_layers {layers}", remedy)
    if chunks > 1 and (stages == 1 or layout.schedule == "gpipe"):
        yield LayoutMismatch(
            "virtual", "", "virtual stages need an interleaved 1f1b pipeline", "use pp=2 or more and schedule=1f1b"
        )
    elif chunks > 1 and layout.micro_batches % stages:
        message = f"interleaving needs a multiple of {stages} micro-batches, not {layout.micro_batches}"
        yield LayoutMismatch(
            "micro_batches", "", message, f"for example mb={stages * -(-layout.micro_batches // stages)}"
        )


def _divisors(number: int, limit: int) -> list[int]:
    """Return the divisors of ``number`` up to ``limit``, in ascending order."""
    small = [n for n in range(1, min(isqrt(number), limit) + 1) if number % n == 0]
    large = (number // n for n in reversed(small))
    return [*small, *(n for n in large if small[-1] < n <= limit)]
