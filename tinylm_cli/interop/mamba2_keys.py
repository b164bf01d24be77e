"""Keys of Mamba-2 layers in a config.json: bounds of the step size, and keys shared by Bamba-derived families."""

# no deferred annotations, as in config.blocks

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from tinylm_cli.config.field_types import FieldType
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.tensor_names import Fused
from tinylm_cli.interop.translation import Translation


def _read_infinity(value: Any) -> Any:
    """Return infinity for the object that transformers writes, since JSON has no such number."""
    return float("inf") if value == {"__float__": "Infinity"} else value


_Limit = Annotated[float, Field(ge=0, allow_inf_nan=True), BeforeValidator(_read_infinity)]

StepLimits = Annotated[list[_Limit] | None, FieldType("numbers", "a list of two numbers"), Field(examples=[[0.0, 0.1]])]


def put_step_limits(to: Translation, limits: list[float] | None) -> None:
    """Set the bounds of the step size from ``time_step_limit``; None stands for no bounds."""
    if limits is None:
        return
    if len(limits) != 2:
        to.contradiction(
            "time_step_limit", "time_step_limit is not a list of two numbers", "write two numbers: [0.0, 0.1]"
        )
        return
    low, high = limits
    to.put("mamba2.min_dt", low, "time_step_limit")
    if high != float("inf"):
        to.put("mamba2.max_dt", high, "time_step_limit")


def step_limits(config: ModelConfig) -> dict[str, Any]:
    """Return ``time_step_limit``; nothing if the step size has no bounds."""
    settings = config.mamba2
    limited = settings.min_dt > 0 or settings.max_dt is not None
    high = float("inf") if settings.max_dt is None else settings.max_dt
    return {"time_step_limit": [settings.min_dt, high]} if limited else {}


def mamba2_names(stored: str) -> tuple[dict[str, str], tuple[Fused, ...]]:
    """Return the names of the modules of a Mamba-2 mixer called ``stored``, and of its tensors per head."""
    parts = {"in_proj": "in_proj", "conv": "conv1d", "norm": "norm", "out_proj": "out_proj"}
    modules = {f"mamba2.{ours}": f"{stored}.{theirs}" for ours, theirs in parts.items()}
    return modules, tuple(Fused((f"mamba2.{name}",), f"{stored}.{name}") for name in ("dt_bias", "A_log", "D"))


class Mamba2LayerKeys(key.Keys):
    """The keys of Mamba-2 layers in a family whose other layers, or other mixers, are attention."""

    mamba_n_heads: Annotated[int, *key.like("mamba2.n_heads")] = 128
    mamba_d_head: Annotated[
        Annotated[int, *key.like("mamba2.d_head")] | Literal["auto"],
        FieldType("integer", 'a whole number, or "auto"'),
        Field(examples=[64]),
    ] = "auto"
    mamba_n_groups: Annotated[int, *key.like("mamba2.n_groups")] = 1
    mamba_d_state: Annotated[int, *key.like("mamba2.d_state")] = 256
    mamba_d_conv: Annotated[int, *key.like("mamba2.kernel_size")] = 4
    mamba_expand: key.Count = 2
    mamba_chunk_size: Annotated[int, *key.like("mamba2.chunk_len")] = 256
    mamba_conv_bias: bool = True
    mamba_proj_bias: bool = False
    time_step_limit: StepLimits = None

    def put_mamba2(self, to: Translation, d_inner: int, d_inner_key: str, *others: str) -> None:
        """Set the fields of the Mamba-2 layers.

        Args:
            to: The translation.
            d_inner: Dimensions of all heads together.
            d_inner_key: The key that determines them, for a message.
            *others: Other keys that determine them.
        """
        heads, d_head = self.mamba_n_heads, self.mamba_d_head
        if to.has_error("mamba_n_heads", "mamba_d_head", d_inner_key, *others):
            return
        given = d_inner // heads if d_head == "auto" else d_head
        if given * heads != d_inner:
            shown = to.display("mamba_n_heads")
            what = f"{shown} {heads}" if d_head == "auto" else f"{shown} {heads} × mamba_d_head {d_head}"
            verb = "does not divide" if d_head == "auto" else "is not"
            message = f"{what} {verb} the {d_inner} dimensions that {' and '.join((d_inner_key, *others))} give"
            to.contradiction("mamba_n_heads", message, "write the number of heads that fits", d_inner_key, *others)
            return
        to.put("mamba2.n_heads", heads, "mamba_n_heads")
        to.put("mamba2.d_head", given, "mamba_d_head")
        for field, name in (
            ("n_groups", "mamba_n_groups"),
            ("d_state", "mamba_d_state"),
            ("kernel_size", "mamba_d_conv"),
            ("chunk_len", "mamba_chunk_size"),
            ("bias", "mamba_proj_bias"),
            ("conv_bias", "mamba_conv_bias"),
        ):
            to.put(f"mamba2.{field}", getattr(self, name), name)
        put_step_limits(to, self.time_step_limit)

    @staticmethod
    def mamba2_keys(config: ModelConfig) -> dict[str, Any]:
        """Return the keys, except ``mamba_expand``."""
        settings = config.mamba2
        return {
            "mamba_n_heads": config.mamba2_heads,
            "mamba_d_head": settings.d_head,
            "mamba_n_groups": settings.n_groups,
            "mamba_d_state": settings.d_state,
            "mamba_d_conv": settings.kernel_size,
            "mamba_chunk_size": settings.chunk_len,
            "mamba_conv_bias": settings.conv_bias,
            "mamba_proj_bias": settings.bias,
            **step_limits(config),
        }
