"""A parameter tensor of the table, and the tensors of a linear map and of a norm."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Literal, NamedTuple, get_args

from tinylm_cli.config.choices import SingleMixer
from tinylm_cli.config.schema import ModelConfig

Component = Literal[
    "token_embedding",
    "position",
    "per_layer_embedding",
    "per_layer_input",
    SingleMixer,
    "feed_forward",
    "router",
    "experts",
    "norm",
    "hyper_connections",
    "altup",
    "laurel",
    "residual",
    "lm_head",
    "score",
    "mtp",
]

COMPONENTS: tuple[Component, ...] = get_args(Component)


class Tensor(NamedTuple):
    """One parameter tensor.

    Attributes:
        name: Name within its section: the full name, or, in a layer, the part after ``blocks.{i}.``.
        shape: Dimensions in torch's order: a linear map from n to m features is (m, n).
        component: The component that owns it.
        tied_to: Full name of the tensor whose storage it shares; None if it is not tied.
        experts_per_token: For stacked experts, (E, ...), the number of experts per token (top_k); None for tensors that
            every token uses.
    """

    name: str
    shape: tuple[int, ...]
    component: Component
    tied_to: str | None = None
    experts_per_token: int | None = None

    @property
    def elements(self) -> int:
        """Number of elements, tied or not."""
        return prod(self.shape)

    @property
    def params(self) -> int:
        """Parameters that it adds to the model: its number of elements, or 0 if it is tied."""
        return 0 if self.tied_to else self.elements

    @property
    def active_elements(self) -> int:
        """Elements used by one token; for stacked experts, only the top_k experts it is routed to."""
        if self.experts_per_token is None:
            return self.elements
        n_experts = self.shape[0]
        return self.elements // n_experts * self.experts_per_token  # one expert's elements × experts per token

    @property
    def active_params(self) -> int:
        """Parameters that one token uses: ``active_elements``, or 0 if the tensor is tied to another."""
        return 0 if self.tied_to else self.active_elements


def linear(name: str, d_in: int, d_out: int, component: Component, *, bias: bool) -> Iterator[Tensor]:
    """Yield the tensors of a linear map from ``d_in`` to ``d_out`` features."""
    yield Tensor(f"{name}.weight", (d_out, d_in), component)  # (out, in)
    if bias:
        yield Tensor(f"{name}.bias", (d_out,), component)  # (out)


def norm(name: str, config: ModelConfig, dim: int) -> Iterator[Tensor]:
    """Yield the tensors of a norm: weight and bias of LayerNorm (Ba et al. 2016), weight of RMSNorm.

    References:
        Zhang and Sennrich 2019 (RMSNorm), https://arxiv.org/abs/1910.07467
    """
    if config.norm.weight:
        yield Tensor(f"{name}.weight", (dim,), "norm")  # (dim)
    if config.norm.has_bias:
        yield Tensor(f"{name}.bias", (dim,), "norm")  # (dim)
