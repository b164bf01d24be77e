"""Ways to divide training among GPUs: which come out even, and all there are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tinylm_cli.analysis.parallel.job import Job, Machine
from tinylm_cli.reports.plan import Layout

LARGEST_TENSOR_PARALLEL = 8
"""Beyond a usual node, tensor parallelism waits for the network (Narayanan et al. 2021, section 3.2)."""

PASSES_PER_STEP = 4
"""Sequences of ``batch_size`` that a GPU on its own would read before an update, where layouts are ranked."""


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


def uneven(job: Job, layout: Layout) -> tuple[Uneven, ...]:
    """Return everything that ``layout`` does not divide evenly, in the order of its fields."""
    return tuple(_uneven(job, layout))


def layouts(job: Job, gpus: int, machine: Machine) -> Iterator[Layout]:
    """Yield every layout of ``gpus`` GPUs that is tried, all reading as many tokens before an update."""
    config = job.config
    most_tensor = min(machine.gpus_per_node, LARGEST_TENSOR_PARALLEL, config.n_heads)
    for tensor in _divisors(gpus, most_tensor):
        for pipeline in _divisors(gpus // tensor, config.n_layers):
            for context in _divisors(gpus // tensor // pipeline, max(job.seq_len // 2, 1)):
                data = gpus // tensor // pipeline // context
                micro_batches = PASSES_PER_STEP * gpus // data
                for expert in _divisors(data * context, config.feed_forward.n_experts or 1):
                    for zero in (0, 1, 2, 3) if data * context > 1 else (0,):
                        if pipeline == 1 or zero < 2:  # gradients and weights would be gathered for every micro-batch
                            yield Layout(data, tensor, pipeline, context, expert, zero, micro_batches)


def _uneven(job: Job, layout: Layout) -> Iterator[Uneven]:
    config, feed_forward = job.config, job.config.feed_forward
    wholes = [("tensor", "n_heads", config.n_heads)]
    if config.attention.kind != "latent":
        wholes.append(("tensor", "attention.n_kv_heads", config.n_kv_heads))
    if not config.has_experts(0):
        wholes.append(("tensor", "d_ff", config.d_ff))
    if feed_forward.n_experts is not None:
        wholes.append(("tensor", "feed_forward.d_expert", config.d_expert))
    wholes += [("pipeline", "n_layers", config.n_layers), ("context", "seq_len", job.seq_len)]
    if feed_forward.n_experts is not None:
        wholes.append(("expert", "feed_forward.n_experts", feed_forward.n_experts))
    for field, name, whole in wholes:
        ways = getattr(layout, field)
        if whole % ways:
            near = ", ".join(map(str, [n for n in _divisors(whole, whole) if n <= 4 * ways][-4:]))
            message = f"{field} parallelism {ways} does not divide {name} {whole}"
            yield Uneven(field, name, message, f"divisors near it: {near}")
    replicas = layout.data * layout.context
    if layout.expert > 1 and feed_forward.n_experts is None:
        message = f"expert parallelism {layout.expert} divides experts, and there are none"
        yield Uneven("expert", "feed_forward.n_experts", message, "leave it out")
    elif replicas % layout.expert:
        message = f"expert parallelism {layout.expert} does not divide the {replicas} GPUs of data × context"
        yield Uneven("expert", "", message, "experts are divided among those")


def _divisors(whole: int, most: int) -> list[int]:
    return [n for n in range(1, min(whole, most) + 1) if whole % n == 0]
