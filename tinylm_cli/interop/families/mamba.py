"""Mamba and Falcon Mamba: selective state-space layers without attention or feed-forward networks."""

from typing import Annotated, Any

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.mamba_keys import DtRank, mamba_names, put_dt_rank
from tinylm_cli.interop.tensor_names import EMBEDDING, TensorNames
from tinylm_cli.interop.translation import Translation

_MODULES, _TENSORS = mamba_names("mixer")


class MambaKeys(key.Keys):
    """``MambaConfig``."""

    constants = {
        "dropout": 0.0,
        "embedding.multiplier": 1.0,
        "position.kind": "none",
        "norm.kind": "rmsnorm",
        "block.mixer": "mamba",
        "block.feed_forward": False,
    }
    tensor_names = TensorNames(
        top_level={EMBEDDING: "backbone.embeddings", "ln_f": "backbone.norm_f", "lm_head": "lm_head"},
        prefix="backbone.layers.{i}.",
        layer={"ln_1": "norm", **_MODULES},
        tensors=_TENSORS,
        prefix_maps=({"backbone.embeddings": "backbone.embedding"},),
    )
    # transformers reads them for the initialization, to choose kernels, to round residuals, or not at all
    ignored = (
        *("d_inner", "d_model", "fused_add_norm", "intermediate_size", "n_layer", "pad_vocab_size_multiple"),
        *("rescale_prenorm_residual", "residual_in_fp32", "rms_norm", "ssm_cfg", "time_step_floor"),
        *("time_step_init_scheme", "time_step_max", "time_step_min", "time_step_scale", "use_associative_scan"),
        *("use_falcon_mambapy", "use_mambapy"),
    )

    vocab_size: key.VocabSize = 50280
    hidden_size: key.DModel = 768
    num_hidden_layers: key.NLayers = 32
    state_size: Annotated[int, *key.fills("mamba.d_state")] = 16
    conv_kernel: Annotated[int, *key.fills("mamba.kernel_size")] = 4
    use_bias: Annotated[bool, *key.fills("mamba.bias")] = False
    use_conv_bias: Annotated[bool, *key.fills("mamba.conv_bias")] = True
    layer_norm_epsilon: key.NormEps = 1e-5
    tie_word_embeddings: key.TieWeights = True
    max_position_embeddings: key.MaxLen = 2048  # the training length of the published models; transformers has no limit
    hidden_act: str = key.only("silu", "swish", why="tinylm activates the convolution with SiLU")
    expand: key.Size = 2
    time_step_rank: DtRank = "auto"

    def to_tinylm(self, to: Translation) -> None:
        """Map the inner dimensions, and the rank of the step size."""
        put_dt_rank(to, "time_step_rank", self.time_step_rank)
        if not to.has_error("expand", "hidden_size"):
            to.put("mamba.d_inner", self.expand * self.hidden_size, "expand")

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        return {"expand": config.mamba_d_inner // config.d_model, "time_step_rank": config.mamba_dt_rank}


class FalconMambaKeys(MambaKeys):
    """``FalconMambaConfig``: Mamba with norms of the step size, B and C."""

    constants = {**MambaKeys.constants, "mamba.norm": "unweighted"}

    mixer_rms_eps: Annotated[float, *key.fills("mamba.eps")] = 1e-6
