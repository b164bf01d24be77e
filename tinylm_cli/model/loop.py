"""Layers that run several times for each token, with the same weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from tinylm_cli.config.schema import ModelConfig

RunLayer = Callable[[Tensor, int], Tensor]
"""Returns the output of a layer, given its input (B, T, D) and its index."""


class Loop(nn.Module):
    """The passes of a looped model through its prelude, core and coda.

    Each pass through the core reads ``norm(x)``, the normalized output of the pass or the prelude before it; the first
    pass without a prelude reads the embeddings. With input injection it reads ``norm(x) + first``, where ``first`` is
    the input of the first pass without injection.

    A hierarchical core has a low- and a high-level module, with hidden states ``low`` and ``high``. In each of
    ``n_loops`` cycles, ``low = norm(low_layers(low + high))`` is computed ``n_low_loops`` times, and then
    ``high = norm(high_layers(high + low))``. At first, ``high`` is the input of the core, and ``low`` the vector
    ``low_init`` at every position. The coda or the head reads the last ``high`` before its norm.

    Args:
        config: Uses d_model, n_layers and loop; ``loop.n_loops`` is set.

    Attributes:
        low_init: The first hidden state of the low-level module, (D), zeros; stored, but not trained.

    References:
        Dehghani et al. 2018 (Universal Transformer), https://arxiv.org/abs/1807.03819;
        Geiping et al. 2025 (input injection), https://arxiv.org/abs/2502.05171;
        Wang et al. 2025 (hierarchical reasoning models), https://arxiv.org/abs/2506.21734
    """

    low_init: Tensor  # with loop.n_low_layers

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        loop = config.loop
        assert loop.n_loops is not None
        self.n_loops, self.n_low_loops, self.inject = loop.n_loops, loop.n_low_loops, loop.inject
        self.prelude = range(loop.n_prelude_layers)
        self.coda = range(config.n_layers - loop.n_coda_layers, config.n_layers)
        self.core = range(self.prelude.stop, self.coda.start)
        self.n_low_layers = loop.n_low_layers
        if loop.n_low_layers is not None:
            self.register_buffer("low_init", torch.empty(config.d_model, device="meta", dtype=torch.float32))

    def fill(self) -> None:
        """Set the first hidden state of the low-level module, if any, to zeros."""
        if self.n_low_layers is not None:
            self.low_init.zero_()

    def shown_settings(self) -> Iterator[tuple[str, int]]:
        """Yield the settings that the module tree shows, by config field."""
        yield "n_loops", self.n_loops
        if self.n_low_layers is not None:
            yield "n_low_layers", self.n_low_layers
            yield "n_low_loops", self.n_low_loops
        if self.prelude:
            yield "n_prelude_layers", len(self.prelude)
        if self.coda:
            yield "n_coda_layers", len(self.coda)

    def extra_repr(self) -> str:
        """Return the settings for ``print(model)``."""
        return ", ".join(f"{name}={value}" for name, value in self.shown_settings())

    def forward(self, x: Tensor, run: RunLayer, norm: nn.Module) -> Tensor:
        """Map embeddings (B, T, D) to the input of the final norm (B, T, D).

        Args:
            x: The embeddings.
            run: Runs one layer; each call is the next use of a layer.
            norm: The final norm.
        """
        if self.prelude:
            x = norm(_through(self.prelude, x, run))  # (B, T, D)
        x = self._one_module(x, run, norm) if self.n_low_layers is None else self._two_modules(x, run, norm)
        return _through(self.coda, x, run)  # (B, T, D)

    def _one_module(self, x: Tensor, run: RunLayer, norm: nn.Module) -> Tensor:
        first = x if self.inject else None
        for index in range(self.n_loops):
            x = norm(x) if index else x  # (B, T, D)
            x = _through(self.core, x if first is None else x + first, run)  # (B, T, D)
        return x

    def _two_modules(self, high: Tensor, run: RunLayer, norm: nn.Module) -> Tensor:
        assert self.n_low_layers is not None
        boundary = self.core.start + self.n_low_layers
        low_layers, high_layers = range(self.core.start, boundary), range(boundary, self.core.stop)
        low = self.low_init.to(high.dtype).expand_as(high)  # (B, T, D)
        for index in range(self.n_loops):
            high = norm(high) if index else high  # (B, T, D)
            for _ in range(self.n_low_loops):
                low = norm(_through(low_layers, low + high, run))  # (B, T, D)
            high = _through(high_layers, high + low, run)  # (B, T, D)
        return high


def _through(layers: range, x: Tensor, run: RunLayer) -> Tensor:
    """Return the output (B, T, D) of consecutive layers."""
    for layer in layers:
        x = run(x, layer)  # (B, T, D)
    return x


def layer_order(config: ModelConfig) -> tuple[int, ...]:
    """Return the layers in the order in which they run; a looped layer occurs once for each pass."""
    if config.loop.n_loops is None:
        return tuple(range(config.n_layers))
    order: list[int] = []

    def record(x: Tensor, layer: int) -> Tensor:
        order.append(layer)
        return x

    with torch.device("meta"):
        Loop(config)(torch.empty(1, 1, config.d_model), record, nn.Identity())
    return tuple(order)
