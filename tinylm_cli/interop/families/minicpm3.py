"""OpenBMB's MiniCPM3: latent attention as in DeepSeek V2, with multipliers of embeddings, residual branches and logits.

References:
    Hu et al. 2024 (MiniCPM), section 3.1 and appendix A.1, https://arxiv.org/abs/2404.06395
"""

import math
from typing import Annotated, Any

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.families.deepseek import LatentKeys, shortest_float
from tinylm_cli.interop.translation import Translation


class MiniCPM3Keys(LatentKeys):
    """``MiniCPM3Config``."""

    constants = {**key.LLAMA_LIKE, "attention.kind": "latent"}

    vocab_size: key.VocabSize = 73448
    hidden_size: key.DModel = 2560
    intermediate_size: key.DFF = 6400
    num_hidden_layers: key.NLayers = 62
    num_attention_heads: key.NHeads = 40
    max_position_embeddings: key.MaxLen = 32768
    rms_norm_eps: key.NormEps = 1e-5
    tie_word_embeddings: key.TieWeights = True
    mlp_bias: key.FeedForwardBias = False
    kv_lora_rank: Annotated[int, *key.fills("attention.kv_rank")] = 256
    q_lora_rank: Annotated[int | None, *key.fills("attention.q_rank")] = 768
    qk_nope_head_dim: Annotated[int, *key.fills("attention.d_nope")] = 64
    qk_rope_head_dim: Annotated[int, *key.fills("attention.d_rope")] = 32
    v_head_dim: Annotated[int | None, *key.like("attention.d_value")] = None  # type: ignore[assignment]
    scale_emb: Annotated[float, *key.fills("embedding.multiplier")] = 12.0
    scale_depth: Annotated[float | None, *key.like("block.residual_multiplier")] = 1.4
    dim_model_base: key.OptionalSize = 256

    def to_tinylm(self, to: Translation) -> None:
        """Map as DeepSeek V2; residual branches are multiplied by ``scale_depth`` / √layers."""
        super().to_tinylm(to)
        d_value = self.v_head_dim or max(self.hidden_size // self.num_attention_heads, 1)
        to.put("attention.d_value", d_value, "v_head_dim", "hidden_size", "num_attention_heads")
        if self.scale_depth is not None and not to.has_error("num_hidden_layers"):
            multiplier = self.scale_depth / math.sqrt(self.num_hidden_layers)
            to.put("block.residual_multiplier", multiplier, "scale_depth", "num_hidden_layers")
        if self.dim_model_base is not None:
            scale = self.dim_model_base / self.hidden_size
            to.put("head.logit_scale", scale, "dim_model_base", "hidden_size")

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        residual, root = config.block.residual_multiplier, math.sqrt(config.n_layers)
        return super().from_tinylm(config) | {
            "v_head_dim": config.d_value,
            "scale_depth": shortest_float(residual * root, residual, lambda depth: depth / root),
            "dim_model_base": max(round(config.head.logit_scale * config.d_model), 1),
        }
