"""Meta's Code World Model: Llama with windows in three of four layers."""

from typing import Any

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.rope_scaling import RopeKeys, RopeParameters, Theta
from tinylm_cli.interop.sliding_windows import LayerWindowKeys

_LLAMA3 = {
    "rope_type": "llama3",
    "factor": 16.0,
    "original_max_position_embeddings": 8192,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
}


class CwmKeys(LayerWindowKeys, RopeKeys):
    """``CwmConfig``."""

    default_pattern = "GLLL"

    vocab_size: key.VocabSize = 128256
    hidden_size: key.DModel = 6144
    intermediate_size: key.DFF = 21504
    num_hidden_layers: key.NLayers = 64
    num_attention_heads: key.NHeads = 48
    num_key_value_heads: key.NKVHeads = 8
    head_dim: key.DHead = 128
    max_position_embeddings: key.MaxLen = 131072
    rope_theta: Theta = 1e6
    rope_parameters: RopeParameters | None = RopeParameters.model_validate(_LLAMA3)
    rms_norm_eps: key.NormEps = 1e-5
    mlp_bias: key.FeedForwardBias = False
    sliding_window: key.LayerWindow = 8192

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        """Return the keys; in this family, ``bos_token_id`` must be a number."""
        return super().from_tinylm(config) | {"bos_token_id": 0}
