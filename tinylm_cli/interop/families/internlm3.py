"""Shanghai AI Laboratory's InternLM 3, which transformers runs as a Llama."""

from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.families.llama import LlamaKeys
from tinylm_cli.interop.translation import Translation


class InternLM3Keys(LlamaKeys):
    """``InternLM3Config``."""

    aliases = {"qkv_bias": "attention_bias", "bias": "mlp_bias"}

    vocab_size: key.VocabSize = 128512
    intermediate_size: key.DFF = 10240
    num_hidden_layers: key.NLayers = 48
    num_key_value_heads: key.NKVHeads = 2
    head_dim: key.DHead = 128
    max_position_embeddings: key.MaxLen = 32768
    rms_norm_eps: key.NormEps = 1e-5

    def to_tinylm(self, to: Translation) -> None:
        """Map as Llama; transformers rejects biases in only one of attention and feed-forward."""
        super().to_tinylm(to)
        if self.attention_bias != self.mlp_bias:
            qkv, other = to.display("attention_bias"), to.display("mlp_bias")
            message = f"{qkv} and {other} differ, which transformers does not support"
            to.contradiction("attention_bias", message, "give both the same value", "mlp_bias")
