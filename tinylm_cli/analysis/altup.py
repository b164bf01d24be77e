"""AltUp, which keeps parallel residual streams: its tensors, matmuls, saved tensors and working memory.

Follows ``model/altup.py``. Letters: B batch_size, T tokens, D d_model, n block.altup_streams.

References:
    Baykal et al. 2023 (AltUp), https://arxiv.org/abs/2301.13310
"""

from __future__ import annotations

from collections.abc import Iterator

from tinylm_cli.analysis.matmul import FLOPS_PER_ELEMENT, Matmul
from tinylm_cli.analysis.saved_tensors.norm import norm as saved_by_norm
from tinylm_cli.analysis.saved_tensors.saved_tensor import ForwardPass, SavedTensor
from tinylm_cli.analysis.tensor import Tensor, linear, norm
from tinylm_cli.config.schema import ModelConfig


def altup_layer(config: ModelConfig) -> Iterator[Tensor]:
    """Yield the tensors with which a layer predicts and corrects the streams; none without AltUp."""
    n, d = config.block.altup_streams, config.d_model
    if n is not None:
        yield from norm("altup.norm", config, d)  # (D)
        yield from linear("altup.router", d, n, "altup", bias=False)  # (n, D)
        yield from linear("altup.prediction", n, n * n, "altup", bias=False)  # (n·n, n)
        yield from linear("altup.correction", n, n, "altup", bias=False)  # (n, n)


def stream_projections(name: str, config: ModelConfig) -> Iterator[Tensor]:
    """Yield the projections of all streams but the first, before the first layer or after the last one."""
    for stream in range(1, config.block.altup_streams or 1):
        yield from linear(f"{name}.stream_{stream}", config.d_model, config.d_model, "altup", bias=False)  # (D, D)


def altup_matmuls(config: ModelConfig, tokens: int) -> Iterator[Matmul]:
    """Yield the matmuls of a layer beyond one per weight: the second use of the router, and the mixing of streams."""
    n, d = config.block.altup_streams, config.d_model
    if n is not None:
        flops = FLOPS_PER_ELEMENT * tokens
        yield Matmul("altup.router after the layer", "altup", flops * n * d, has_weight=True)  # 2 × T × (n · D)
        yield Matmul("altup.streams", "altup", flops * n * n * d, has_weight=True)  # 2 × T × (n · n · D)


def _numbers(run: ForwardPass, name: str, count: int, element_bytes: int | None = None) -> SavedTensor:
    """Return a saved tensor of ``count`` elements of each token."""
    nbytes = run.tokens * count * (element_bytes or run.element_bytes)  # B × T × count
    return SavedTensor(f"altup {name}", "altup", nbytes, "sequence")


def _routed(run: ForwardPass, when: str, source: SavedTensor) -> Iterator[SavedTensor]:
    """Yield the tensors that the router saves, and the input of the coefficients."""
    n, d = run.config.block.n_streams, run.config.d_model
    yield from saved_by_norm(run, f"altup norm {when}", source, run.tokens, d)
    yield _numbers(run, f"norm output {when}", d)  # read by the router
    yield _numbers(run, f"tanh {when}", n, run.upcast_bytes)
    if run.upcast_bytes > run.element_bytes:
        yield _numbers(run, f"routed {when}", n)  # cast; read by the coefficients


def saved_by_prediction(run: ForwardPass, streams: SavedTensor) -> Iterator[SavedTensor]:
    """Yield the tensors that ``AltUp.predict`` saves, given the streams."""
    yield from _routed(run, "before", streams)
    yield _numbers(run, "mixing", run.config.block.n_streams**2)
    yield streams


def saved_by_correction(run: ForwardPass) -> Iterator[SavedTensor]:
    """Yield the tensors that ``AltUp.correct`` saves."""
    yield from _routed(run, "after", _numbers(run, "output of the layer", run.config.d_model))
    yield _numbers(run, "weights", run.config.block.n_streams)
    yield _numbers(run, "error", run.config.d_model)


def saved_by_projections(run: ForwardPass, when: str, first: SavedTensor, source: SavedTensor) -> Iterator[SavedTensor]:
    """Yield the tensors that ``StreamProjections.project`` saves, given the first stream and the projected vectors.

    Each projected vector is scaled by a ratio of root mean squares.
    """
    yield first
    yield _numbers(run, f"magnitude {when}", 1)
    yield source
    others = run.config.block.n_streams - 1
    yield _numbers(run, f"projected {when}", others * run.config.d_model)
    for what in ("mean square", "magnitude", "ratio"):
        yield _numbers(run, f"{what} of projected {when}", others)
