"""Mamba-2: state-space layers without attention or feed-forward networks."""

from typing import Annotated, Any

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.mamba2_keys import StepLimits, mamba2_names, put_step_limits, step_limits
from tinylm_cli.interop.tensor_names import EMBEDDING, TensorNames
from tinylm_cli.interop.translation import Translation

_MODULES, _TENSORS = mamba2_names("mixer")


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
        layer={"ln_1": "norm", **_MODULES},
        tensors=_TENSORS,
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
    time_step_limit: StepLimits = None

    def to_tinylm(self, to: Translation) -> None:
        """Map the bounds of the step size, and check ``expand``, which the heads must agree with."""
        inner = self.num_heads * self.head_dim
        if self.expand * self.hidden_size != inner:
            message = f"expand {self.expand} × hidden_size {self.hidden_size} is not num_heads × head_dim, {inner}"
            remedy = "write num_heads as expand × hidden_size / head_dim"
            to.contradiction("expand", message, remedy, "num_heads", "head_dim", "hidden_size")
        put_step_limits(to, self.time_step_limit)

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        inner = config.mamba2_heads * config.mamba2.d_head
        return {"expand": inner // config.d_model, **step_limits(config)}
