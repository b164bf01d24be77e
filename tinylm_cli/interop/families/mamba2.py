"""Mamba-2: state-space layers without attention or feed-forward networks."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from tinylm_cli.config.field_types import FieldType
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.tensor_names import EMBEDDING, Fused, TensorNames
from tinylm_cli.interop.translation import Translation


def _read_infinity(value: Any) -> Any:
    """Return infinity for the object that transformers writes, since JSON has no such number."""
    return float("inf") if value == {"__float__": "Infinity"} else value


_Limit = Annotated[float, Field(ge=0, allow_inf_nan=True), BeforeValidator(_read_infinity)]


class Mamba2Keys(key.Keys):
    """``Mamba2Config``."""

    constants = {
        "dropout": 0.0,
        "embedding.multiplier": 1.0,
        "position.kind": "none",
        "norm.kind": "rmsnorm",
        "block.mixer": "mamba2",
        "block.feed_forward": False,
    }
    tensor_names = TensorNames(
        top_level={EMBEDDING: "backbone.embeddings", "ln_f": "backbone.norm_f", "lm_head": "lm_head"},
        prefix="backbone.layers.{i}.",
        layer={
            "ln_1": "norm",
            "mamba2.in_proj": "mixer.in_proj",
            "mamba2.conv": "mixer.conv1d",
            "mamba2.norm": "mixer.norm",
            "mamba2.out_proj": "mixer.out_proj",
        },
        tensors=tuple(Fused((f"mamba2.{name}",), f"mixer.{name}") for name in ("dt_bias", "A_log", "D")),
    )
    ignored = (
        "intermediate_size",
        "norm_before_gate",
        "rescale_prenorm_residual",
        "residual_in_fp32",
        "rms_norm",
        "time_step_floor",
        "time_step_init_scheme",
        "time_step_max",
        "time_step_min",
        "time_step_rank",
        "time_step_scale",
    )  # transformers reads them for the initialization, to round residuals, or not at all

    vocab_size: key.VocabSize = 32768
    hidden_size: key.DModel = 4096
    num_hidden_layers: key.NLayers = 64
    num_heads: Annotated[int, *key.fills("mamba2.n_heads")] = 128
    head_dim: Annotated[int, *key.fills("mamba2.d_head")] = 64
    state_size: Annotated[int, *key.fills("mamba2.d_state")] = 128
    n_groups: Annotated[int, *key.fills("mamba2.n_groups")] = 8
    conv_kernel: Annotated[int, *key.fills("mamba2.kernel_size")] = 4
    chunk_size: Annotated[int, *key.fills("mamba2.chunk_len")] = 256
    use_bias: Annotated[bool, *key.fills("mamba2.bias")] = False
    use_conv_bias: Annotated[bool, *key.fills("mamba2.conv_bias")] = True
    layer_norm_epsilon: key.NormEps = 1e-5
    tie_word_embeddings: key.TieWeights = False
    max_position_embeddings: key.MaxLen = 2048  # the training length of the published models; transformers has no limit
    hidden_act: str = key.only("silu", "swish", why="tinylm activates the convolution with SiLU")
    expand: key.Count = 2
    time_step_limit: Annotated[
        list[_Limit] | None, FieldType("numbers", "a list of two numbers"), Field(examples=[[0.0, 0.1]])
    ] = None

    def to_tinylm(self, to: Translation) -> None:
        """Map the bounds of the step size, and check ``expand``, which the heads must agree with."""
        inner = self.num_heads * self.head_dim
        if self.expand * self.hidden_size != inner:
            message = f"expand {self.expand} × hidden_size {self.hidden_size} is not num_heads × head_dim, {inner}"
            remedy = "write num_heads as expand × hidden_size / head_dim"
            to.contradiction("expand", message, remedy, "num_heads", "head_dim", "hidden_size")
        if self.time_step_limit is None:
            return
        if len(self.time_step_limit) != 2:
            to.contradiction(
                "time_step_limit", "time_step_limit is not a list of two numbers", "write two numbers: [0.0, 0.1]"
            )
            return
        low, high = self.time_step_limit
        to.put("mamba2.min_dt", low, "time_step_limit")
        if high != float("inf"):
            to.put("mamba2.max_dt", high, "time_step_limit")

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        settings = config.mamba2
        high = float("inf") if settings.max_dt is None else settings.max_dt
        inner = config.mamba2_heads * settings.d_head
        limited = settings.min_dt > 0 or settings.max_dt is not None
        return {"expand": inner // config.d_model, **({"time_step_limit": [settings.min_dt, high]} if limited else {})}
