"""BLOOM: ALiBi, and a norm after the embedding."""

from typing import Annotated

from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.tensor_names import BLOOM_NAMES
from tinylm_cli.interop.translation import Translation


class BloomKeys(key.Keys):
    """``BloomConfig``."""

    constants = {
        "embedding.multiplier": 1.0,
        "embedding.norm": True,
        "position.kind": "alibi",
        "feed_forward.activation": "gelu_tanh",
    }
    tensor_names = BLOOM_NAMES
    aliases = {"n_embed": "hidden_size", "num_attention_heads": "n_head", "num_hidden_layers": "n_layer"}
    ignored = (
        "slow_but_exact",
        "attention_softmax_in_fp32",
        "masked_softmax_fusion",
        "bias_dropout_fusion",
        "skip_bias_add",
        "skip_bias_add_qkv",
        "offset_alibi",
    )

    vocab_size: key.VocabSize = 250880
    hidden_size: key.DModel = 64
    n_layer: key.NLayers = 2
    n_head: key.NHeads = 8
    seq_length: key.MaxLen = 2048  # the training length; transformers does not enforce a limit
    hidden_dropout: key.Dropout = 0.0
    layer_norm_epsilon: key.NormEps = 1e-5
    tie_word_embeddings: key.TieWeights = True
    apply_residual_connection_post_layernorm: Annotated[bool, *key.fills("block.normed_residual")] = False

    def to_tinylm(self, to: Translation) -> None:
        """Map the feed-forward width, 4 · ``hidden_size``."""
        to.put("d_ff", 4 * self.hidden_size, "hidden_size")
