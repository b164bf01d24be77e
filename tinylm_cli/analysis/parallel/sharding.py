"""The part of the tensor table that one GPU computes with: a stage's layers, each tensor divided."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from tinylm_cli.analysis.tensor_table import Section, Tensor, TensorTable, tensor_table
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.reports.plan import Layout

_BY_ROW = ("q_proj", "k_proj", "v_proj", "q_b_proj", "kv_b_proj", "gate_proj", "up_proj", "lm_head", "embedding")
"""Modules whose first dimension is divided: each GPU makes some of the heads, of the hidden layer, of the logits."""

_BY_COLUMN = ("o_proj", "down_proj")
"""Modules whose weight is divided along its last: each GPU reads what it has made, and the results are added up."""


def missing_layers(config: ModelConfig, layout: Layout) -> int:
    """Return how many layers more would fill every chunk of every stage alike: what a layout may have is 0, 1 or 2."""
    return -config.n_layers % (layout.pipeline * layout.virtual)


def stage_layers(config: ModelConfig, layout: Layout, stage: int) -> range:
    """Return the layers of a pipeline stage; cut in chunks or not, there are as many.

    Where one layer is missing, the last stage has one less than the others, for it has the head; where two are, the
    first has one less as well, as of the 126 layers of Llama 3 405B.

    References:
        Grattafiori et al. 2024, section 3.3.2, https://arxiv.org/abs/2407.21783
    """
    missing = missing_layers(config, layout)
    each, ahead = (config.n_layers + missing) // layout.pipeline, missing // 2
    start = stage * each - ahead
    return range(max(start, 0), min(start + each, config.n_layers))


def stage_table(config: ModelConfig, layout: Layout, stage: int) -> TensorTable:
    """Return the tensors of one GPU of ``stage``: whole in number, divided in shape.

    Tensor parallelism divides as Shoeybi et al. do: norms, routers, what compresses in latent attention, and biases
    that are added after the sum stay whole. The first stage holds the embedding and the last the head, with a copy of
    the embedding's table where the two are tied.

    Args:
        config: A validated config that ``layout`` divides evenly; the vocabulary is padded.
        layout: How the work is divided.
        stage: Which stage, 0..pipeline - 1.

    References:
        Shoeybi et al. 2019, https://arxiv.org/abs/1909.08053;
        Narayanan et al. 2021, https://arxiv.org/abs/2104.04473
    """
    return tuple(_sections(config, layout, stage))


def stage_params(config: ModelConfig, layout: Layout, stage: int) -> tuple[int, int]:
    """Return the parameters that a GPU of ``stage`` computes with: of experts, and of all else before them."""
    divided = Layout(
        tensor=layout.tensor, pipeline=layout.pipeline, virtual=layout.virtual, expert=layout.expert
    )  # all that matters here
    return _stage_params(config, divided, stage)


@lru_cache(maxsize=4096)
def _stage_params(config: ModelConfig, layout: Layout, stage: int) -> tuple[int, int]:
    found = [(is_routed(t), s.repeats * t.params) for s in stage_table(config, layout, stage) for t in s.tensors]
    return sum(n for routed, n in found if not routed), sum(n for routed, n in found if routed)


def _sections(config: ModelConfig, layout: Layout, stage: int) -> Iterator[Section]:
    wanted, last = stage_layers(config, layout, stage), layout.pipeline - 1
    first_section, *between, last_section = tensor_table(config)
    if stage == 0:
        yield Section(tuple(_divided(tensor, config, layout) for tensor in first_section.tensors))
    for section in between:
        assert section.layers is not None
        layers = range(max(section.layers.start, wanted.start), min(section.layers.stop, wanted.stop))
        if layers:
            yield Section(tuple(_divided(tensor, config, layout) for tensor in section.tensors), layers)
    if stage == last:
        apart = stage != 0
        tensors = (t._replace(tied_to=None) if apart else t for t in last_section.tensors)
        yield Section(tuple(_divided(tensor, config, layout) for tensor in tensors))


def is_routed(tensor: Tensor) -> bool:
    """Return whether a tensor is of experts."""
    return tensor.experts_per_token is not None


def _divided(tensor: Tensor, config: ModelConfig, layout: Layout) -> Tensor:
    """Return a tensor of the shape that one GPU holds."""
    module, kind = f".{tensor.name}".split(".")[-2:]
    shape = list(tensor.shape)
    rows = 0
    if is_routed(tensor):
        shape[0] //= layout.expert
        rows = 1
    spans_heads = kind == "sinks" or (module in ("q_norm", "k_norm") and config.attention.qk_norm == "full")
    if module in _BY_ROW or spans_heads:
        shape[rows] = -(-shape[rows] // layout.tensor)
    elif module in _BY_COLUMN and kind == "weight":
        shape[-1] //= layout.tensor
    return tensor._replace(shape=tuple(shape))
