"""BERT as a decoder (Rothe et al. 2019): norms of the embeddings and after the residual additions, causal attention."""

from typing import Any

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.tensor_names import EMBEDDING, TensorNames
from tinylm_cli.interop.translation import Translation


class BertGenerationKeys(key.Keys):
    """``BertGenerationConfig`` of a decoder."""

    constants = {
        "embedding.multiplier": 1.0,
        "embedding.norm": True,
        "position.kind": "learned",
        "norm.placement": "post_residual",
        "head.bias": True,
    }
    tensor_names = TensorNames(
        top_level={
            EMBEDDING: "bert.embeddings.word_embeddings",
            "embedding.positional_encoding": "bert.embeddings.position_embeddings",
            "embedding.norm": "bert.embeddings.LayerNorm",
            "lm_head": "lm_head",
        },
        prefix="bert.encoder.layer.{i}.",
        layer={
            "attention.q_proj": "attention.self.query",
            "attention.k_proj": "attention.self.key",
            "attention.v_proj": "attention.self.value",
            "attention.o_proj": "attention.output.dense",
            "post_ln_1": "attention.output.LayerNorm",
            "feed_forward.up_proj": "intermediate.dense",
            "feed_forward.down_proj": "output.dense",
            "post_ln_2": "output.LayerNorm",
        },
        recomputed_suffixes=("lm_head.decoder.bias",),  # a copy of lm_head.bias
    )

    vocab_size: key.VocabSize = 50358
    hidden_size: key.DModel = 1024
    num_hidden_layers: key.NLayers = 24
    num_attention_heads: key.NHeads = 16
    intermediate_size: key.DFF = 4096
    hidden_act: key.Activation = "gelu"
    hidden_dropout_prob: key.Dropout = 0.1
    max_position_embeddings: key.MaxLen = 512
    layer_norm_eps: key.NormEps = 1e-12
    is_decoder: bool = False
    tie_word_embeddings: bool = key.only(True, why="this family's code then has a bias without use")

    def to_tinylm(self, to: Translation) -> None:
        """Map a decoder; in an encoder, every token attends to the whole sequence."""
        super().to_tinylm(to)
        to.put("tie_weights", True, "tie_word_embeddings")
        if not self.is_decoder:
            to.unsupported("is_decoder", "attention is causal only in a decoder", 'write "is_decoder": true')

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        return super().from_tinylm(config) | {"is_decoder": True, "tie_word_embeddings": config.tie_weights}
