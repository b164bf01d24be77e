"""LG's EXAONE 4.0: norms after each sub-layer, and norms on queries and keys."""

from typing import Any

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.rope_scaling import RopeKeys
from tinylm_cli.interop.sliding_windows import LayerWindowKeys
from tinylm_cli.interop.tensor_names import POST_NORM_NAMES
from tinylm_cli.interop.translation import Translation


class Exaone4Keys(LayerWindowKeys, RopeKeys):
    """``Exaone4Config``, without sliding windows: with them, the global layers have no RoPE."""

    constants = {**key.LLAMA_LIKE, "norm.placement": "post", "attention.qk_norm": "per_head"}
    tensor_names = POST_NORM_NAMES
    ignored = ("sliding_window_pattern",)  # without windows

    vocab_size: key.VocabSize = 102400
    intermediate_size: key.DFF = 16384
    num_key_value_heads: key.NKVHeads = 32
    head_dim: key.DHead = None
    rms_norm_eps: key.NormEps = 1e-5

    def to_tinylm(self, to: Translation) -> None:
        super().to_tinylm(to)
        if self.sliding_window is not None:
            why = "layers without a window would have no RoPE"
            to.unsupported("sliding_window", why, "tinylm supports only sliding_window: null")

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        return super().from_tinylm(config) | {"sliding_window": config.attention.window}
