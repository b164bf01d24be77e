"""xLSTM: mLSTM, a linear attention with exponential gates, and gated feed-forward networks."""

import math
from typing import Annotated, Any

from pydantic import Field

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.tensor_names import EMBEDDING, TensorNames
from tinylm_cli.interop.translation import Translation

STATE_MULTIPLE = 64
"""transformers rounds the widths of its states up to multiples of this number, but not those of the projections."""

FFN_FACTOR, FFN_MULTIPLE = 2.667, 64

_PROJECTIONS = {
    "q_proj": "q",
    "k_proj": "k",
    "v_proj": "v",
    "i_proj": "igate_preact",
    "f_proj": "fgate_preact",
    "gate_proj": "ogate_preact",
    "o_norm": "multihead_norm",
    "o_proj": "out_proj",
}

Factor = Annotated[float, Field(gt=0, le=key.MAX_NUMBER)]


class XLSTMKeys(key.Keys):
    """``xLSTMConfig``."""

    constants = {
        "dropout": 0.0,
        "embedding.multiplier": 1.0,
        "position.kind": "none",
        "norm.kind": "rmsnorm",
        "block.mixer": "mlstm",
        "feed_forward.activation": "silu",
        "feed_forward.gated": True,
        "feed_forward.bias": False,
        "tie_weights": False,
    }
    tensor_names = TensorNames(
        top_level={EMBEDDING: "backbone.embeddings", "ln_f": "backbone.out_norm", "lm_head": "lm_head"},
        prefix="backbone.blocks.{i}.",
        layer={
            "ln_1": "norm_mlstm",
            "ln_2": "norm_ffn",
            **{f"mlstm.{ours}": f"mlstm_layer.{theirs}" for ours, theirs in _PROJECTIONS.items()},
            "feed_forward.gate_proj": "ffn.proj_up_gate",
            "feed_forward.up_proj": "ffn.proj_up",
            "feed_forward.down_proj": "ffn.proj_down",
        },
    )
    aliases = {"embedding_dim": "hidden_size", "num_blocks": "num_hidden_layers"}
    # kernels and their dtypes, or not read by transformers
    ignored = (
        *("add_out_norm", "autocast_kernel_dtype", "chunkwise_kernel", "inference_state_dtype"),
        *("max_inference_chunksize", "mode", "norm_reduction_force_float32", "return_last_states", "sequence_kernel"),
        "step_kernel",
    )

    vocab_size: key.VocabSize = 50304
    hidden_size: key.DModel = 4096
    num_hidden_layers: key.NLayers = 32
    num_heads: Annotated[int, *key.fills("mlstm.n_heads")] = 8
    max_position_embeddings: key.MaxLen = 8192  # the training length of xLSTM 7B; transformers has no limit
    qk_dim_factor: Factor = 0.5
    v_dim_factor: Factor = 1.0
    ffn_proj_factor: Factor = FFN_FACTOR
    ffn_round_up_to_multiple_of: key.Size = FFN_MULTIPLE
    gate_soft_cap: Annotated[float, *key.fills("mlstm.gate_softcap")] = 15.0
    output_logit_soft_cap: Annotated[float, *key.fills("head.logit_softcap")] = 30.0
    norm_eps: key.NormEps = 1e-6
    chunk_size: Annotated[int, *key.fills("mlstm.chunk_len")] = 64
    eps: float = key.only(1e-6, why="tinylm adds 1e-06 to the denominator of mLSTM")
    use_bias: bool = key.only(False, why="tinylm has no biases in mLSTM outside its gates, nor in RMSNorm")
    weight_mode: str = key.only("single", why="tinylm reads checkpoints that store every projection by itself")
    tie_word_embeddings: bool = key.only(False, why="the code of transformers never ties the LM head of xLSTM")

    def to_tinylm(self, to: Translation) -> None:
        """Map the widths of queries, keys, values and feed-forward networks, which are factors of ``hidden_size``."""
        if to.has_error("hidden_size"):
            return
        for name, field in (("qk_dim_factor", "mlstm.d_key"), ("v_dim_factor", "mlstm.d_value")):
            if to.has_error(name, "num_heads"):
                continue
            width = int(self.hidden_size * getattr(self, name))
            if width < 1 or width % self.num_heads:
                to.unsupported(name, f"num_heads {self.num_heads} does not divide the {width} dimensions")
            elif width % STATE_MULTIPLE:
                why = f"the states of transformers have multiples of {STATE_MULTIPLE} dimensions, not {width}"
                to.unsupported(name, why)
            to.put(field, max(width // self.num_heads, 1), name, "hidden_size", "num_heads")
        keys = ("ffn_proj_factor", "ffn_round_up_to_multiple_of")
        if not to.has_error(*keys):
            d_ff = _rounded_up(self.hidden_size * self.ffn_proj_factor, self.ffn_round_up_to_multiple_of)
            to.put("d_ff", d_ff, *keys, "hidden_size")

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        """Return the factors, with the published ones of the feed-forward network where they give the same width."""
        settings, d_model = config.mlstm, config.d_model
        factor, multiple = FFN_FACTOR, FFN_MULTIPLE
        if _rounded_up(d_model * factor, multiple) != config.d_ff:
            factor, multiple = _factor(config.d_ff, d_model), math.gcd(config.d_ff, FFN_MULTIPLE)
        return {
            "qk_dim_factor": _factor(config.mlstm_heads * settings.d_key, d_model),
            "v_dim_factor": _factor(config.mlstm_heads * settings.d_value, d_model),
            "ffn_proj_factor": factor,
            "ffn_round_up_to_multiple_of": multiple,
        }


def _rounded_up(width: float, multiple: int) -> int:
    """Return the least multiple that is not below ``width``, in the arithmetic of transformers."""
    return int((width + multiple - 1) // multiple * multiple)


def _factor(width: int, d_model: int) -> float:
    """Return a factor of ``d_model`` whose product, rounded down, is ``width``."""
    factor = width / d_model
    return factor if factor * d_model >= width else math.nextafter(factor, math.inf)
