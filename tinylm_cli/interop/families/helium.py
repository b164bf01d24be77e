"""Kyutai's Helium: Llama with RoPE that pairs adjacent dimensions."""

from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.rope_scaling import RopeKeys, Theta
from tinylm_cli.interop.translation import Translation


class HeliumKeys(key.LlamaLikeKeys, RopeKeys):
    """``HeliumConfig``."""

    constants = {**key.LLAMA_LIKE, "position.pairing": "adjacent", "attention.out_bias": False}

    vocab_size: key.VocabSize = 48000
    hidden_size: key.DModel = 2560
    intermediate_size: key.DFF = 7040
    num_hidden_layers: key.NLayers = 24
    num_attention_heads: key.NHeads = 20
    num_key_value_heads: key.NKVHeads = 20
    head_dim: key.DHead = 128
    max_position_embeddings: key.MaxLen = 4096
    rope_theta: Theta = 100_000.0
    rms_norm_eps: key.NormEps = 1e-8
    attention_bias: key.AttentionBias = False
    mlp_bias: key.FeedForwardBias = False

    def to_tinylm(self, to: Translation) -> None:
        """Map as Llama; the heads together must be as wide as the output projection's input, ``hidden_size``."""
        super().to_tinylm(to)
        d_head = self.hidden_size // self.num_attention_heads
        if self.head_dim not in (None, d_head) and not to.has_error("head_dim", "hidden_size", "num_attention_heads"):
            why = "in this family, it is hidden_size / num_attention_heads"
            to.unsupported("head_dim", why, f"write head_dim: {d_head}")
