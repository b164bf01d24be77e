"""Keys of Mamba layers in a config.json: the rank of the step size, and the names of the tensors."""

# no deferred annotations, as in config.blocks

from typing import Annotated, Literal

from pydantic import Field

from tinylm_cli.config.field_types import FieldType
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.tensor_names import Fused
from tinylm_cli.interop.translation import Translation

DtRank = Annotated[
    Annotated[int, *key.like("mamba.dt_rank")] | Literal["auto"],
    FieldType("integer", 'a whole number, or "auto"'),
    Field(examples=[48]),
]
"""The rank of the step size; "auto" is that of tinylm's default."""

_MODULES = {
    "in_proj": "in_proj",
    "conv": "conv1d",
    "x_proj": "x_proj",
    "dt_proj": "dt_proj",
    "out_proj": "out_proj",
    "dt_norm": "dt_layernorm",
    "b_norm": "b_layernorm",
    "c_norm": "c_layernorm",
}


def put_dt_rank(to: Translation, name: str, value: int | str) -> None:
    """Set the rank of the step size from the key ``name``."""
    to.put("mamba.dt_rank", None if value == "auto" else value, name)


def mamba_names(stored: str) -> tuple[dict[str, str], tuple[Fused, ...]]:
    """Return the names of the modules of a Mamba mixer called ``stored``, and of its other tensors."""
    modules = {f"mamba.{ours}": f"{stored}.{theirs}" for ours, theirs in _MODULES.items()}
    return modules, tuple(Fused((f"mamba.{name}",), f"{stored}.{name}") for name in ("A_log", "D"))
