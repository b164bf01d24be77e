"""Ways to divide training among GPUs: which come out even, and all there are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import gcd
from typing import NamedTuple

from tinylm_cli.analysis.parallel.sharding import missing_layers
from tinylm_cli.analysis.setups import TrainingSetup
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.reports.plan import Layout

LARGEST_TENSOR_PARALLEL = 8
"""Beyond a usual node, tensor parallelism waits for the network (Narayanan et al. 2021, section 3.2)."""

MOST_MISSING = 2
"""The first stage and the last may each have one layer less than the others."""

TOKENS_PER_STEP = 2**22
"""About 4M tokens between updates, unless the number of sequences is given: as Llama 3 405B began with (Grattafiori et
al. 2024, section 3.4.1, https://arxiv.org/abs/2407.21783); GPT-3 had 3.2M (Brown et al. 2020, table 2.1,
https://arxiv.org/abs/2005.14165)."""


class Uneven(NamedTuple):
    """A way in which a layout does not come out even.

    Attributes:
        field: The field of the layout.
        config_field: The dotted field of the config that it does not divide, ``seq_len``, or nothing.
        message: What does not divide what.
        help: Values that would.
    """

    field: str
    config_field: str
    message: str
    help: str


def uneven(config: ModelConfig, setup: TrainingSetup, layout: Layout) -> tuple[Uneven, ...]:
    """Return everything that ``layout`` does not divide evenly, in the order of its fields."""
    return tuple(_uneven(config, setup, layout))


def global_batch_size(config: ModelConfig, setup: TrainingSetup) -> int:
    """Return the sequences per optimizer step: the setup's, or about ``TOKENS_PER_STEP`` tokens.

    The default is the least multiple of what one pass of every GPU reads, so that every number of replicas divides it.
    """
    if setup.global_batch_size is not None:
        return setup.global_batch_size
    at_once = setup.batch_size * setup.n_gpus
    return at_once * -(-TOKENS_PER_STEP // (at_once * setup.length(config)))


def layouts(config: ModelConfig, setup: TrainingSetup, gpus_per_node: int) -> Iterator[Layout]:
    """Yield every layout of the setup's GPUs that is tried, all with the same global batch size.

    All ways to write the number as a product of data, tensor, pipeline and context parallelism that come out even, with
    every ZeRO stage, and with experts divided every way that their number allows; tensor parallelism within a node, and
    stages in one piece.
    """
    gpus, sequences, seq_len = setup.n_gpus, global_batch_size(config, setup), setup.length(config)
    most_tensor = min(gpus_per_node, LARGEST_TENSOR_PARALLEL)
    for tensor in _divisors(gcd(gpus, config.n_heads), most_tensor):
        for pipeline in _divisors(gpus // tensor, config.n_layers):
            for context in _divisors(gcd(gpus // tensor // pipeline, seq_len), max(seq_len // 2, 1)):
                data = gpus // tensor // pipeline // context
                micro_batches, left = divmod(sequences, data * setup.batch_size)
                if left:
                    continue
                shared = data * context
                for expert in _divisors(gcd(shared, config.feed_forward.n_experts or 1), shared):
                    layout = Layout(data, tensor, pipeline, context, expert, 0, micro_batches)
                    if not uneven(config, setup, layout):
                        yield from (replace(layout, zero=zero) for zero in ((0, 1, 2, 3) if shared > 1 else (0,)))


def _uneven(config: ModelConfig, setup: TrainingSetup, layout: Layout) -> Iterator[Uneven]:
    feed_forward = config.feed_forward
    wholes = [("tensor", "n_heads", config.n_heads)]
    if config.attention.kind != "latent":
        wholes.append(("tensor", "attention.n_kv_heads", config.n_kv_heads))
    if not config.has_experts(0):
        wholes.append(("tensor", "d_ff", config.d_ff))
    if feed_forward.n_experts is not None:
        wholes.append(("tensor", "feed_forward.d_expert", config.d_expert))
    wholes.append(("context", "seq_len", setup.length(config)))
    if feed_forward.n_experts is not None:
        wholes.append(("expert", "feed_forward.n_experts", feed_forward.n_experts))
    for field, name, whole in wholes:
        ways = getattr(layout, field)
        if whole % ways:
            near = ", ".join(map(str, _divisors(whole, 4 * ways)[-4:]))
            message = f"{field} parallelism {ways} does not divide {name} {whole}"
            yield Uneven(field, name, message, f"divisors near it: {near}")
    yield from _uneven_stages(config, layout)
    replicas = layout.data * layout.context
    if layout.expert > 1 and feed_forward.n_experts is None:
        message = f"expert parallelism {layout.expert} divides experts, and there are none"
        yield Uneven("expert", "feed_forward.n_experts", message, "leave it out")
    elif replicas % layout.expert:
        message = f"expert parallelism {layout.expert} does not divide the {replicas} GPUs of data × context"
        yield Uneven("expert", "", message, "experts are divided among those")


def _uneven_stages(config: ModelConfig, layout: Layout) -> Iterator[Uneven]:
    layers, stages, chunks = config.n_layers, layout.pipeline, layout.virtual
    if missing_layers(config, layout) > MOST_MISSING or stages > layers:
        what = f"pipeline parallelism {stages}" + (f" in {chunks} chunks a stage" if chunks > 1 else "")
        near = [
            n
            for n in range(2 if chunks > 1 else 1, min(layers // chunks, 4 * stages) + 1)
            if -layers % (n * chunks) <= MOST_MISSING
        ]
        remedy = (
            f"stages near it: {', '.join(map(str, near[-4:]))}; the first and the last may have one layer less"
            if near
            else "give fewer chunks"
        )
        yield Uneven("pipeline", "n_layers", f"{what} does not divide n_layers {layers}", remedy)
    if chunks > 1 and (stages == 1 or layout.schedule == "gpipe"):
        yield Uneven("virtual", "", "chunks take turns in a 1f1b pipeline alone", "give pp=2 or more, and no gpipe")
    elif chunks > 1 and layout.micro_batches % stages:
        message = f"chunks take turns by {stages} micro-batches, which do not divide {layout.micro_batches}"
        yield Uneven("micro_batches", "", message, f"for example mb={stages * -(-layout.micro_batches // stages)}")


def _divisors(whole: int, most: int) -> list[int]:
    return [n for n in range(1, min(whole, most) + 1) if whole % n == 0]
