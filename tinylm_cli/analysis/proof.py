"""The proof: the tensor table compared with an instantiated module, name by name and shape by shape."""

from __future__ import annotations

from collections.abc import Mapping

from tinylm_cli.analysis.params import total_params
from tinylm_cli.analysis.tensor_table import expand, tensor_table
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.reports.architecture import Proof


def closed_form(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor by full name, including tied tensors."""
    return {name: tensor.shape for name, tensor in expand(tensor_table(config))}


def prove(config: ModelConfig, instantiated: Mapping[str, tuple[int, ...]], instantiated_params: int) -> Proof:
    """Compare the table of ``config`` with a module's tensors.

    Args:
        config: The config that the module was built from.
        instantiated: Shape of each parameter of the module by name; a tied parameter appears under each of its names.
        instantiated_params: Number of elements of the module's parameters; each storage counts once.
    """
    table = tensor_table(config)
    return Proof.between(closed_form(config), total_params(table), instantiated, instantiated_params)
