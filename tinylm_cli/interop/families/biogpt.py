"""Microsoft's BioGPT: the architecture of OPT, with scaled embeddings and GELU."""

from typing import Any

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.families.opt import OPTKeys
from tinylm_cli.interop.tensor_names import EMBEDDING
from tinylm_cli.interop.translation import Translation


class ScaledEmbeddingKeys(key.Keys):
    """The key of embeddings multiplied by √d_model."""

    scale_embedding: bool | None = True

    def to_tinylm(self, to: Translation) -> None:
        super().to_tinylm(to)
        to.put("embedding.multiplier", 1.0 if self.scale_embedding is False else None, "scale_embedding")

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        return super().from_tinylm(config) | {"scale_embedding": config.embedding.multiplier != 1}


class BioGptKeys(ScaledEmbeddingKeys):
    """``BioGptConfig``."""

    constants = {"position.kind": "learned", "position.offset": 2, "norm.eps": 1e-5}
    tensor_names = OPTKeys.tensor_names.override(
        top_level={
            EMBEDDING: "biogpt.embed_tokens",
            "embedding.positional_encoding": "biogpt.embed_positions",
            "ln_f": "biogpt.layer_norm",
            "lm_head": "output_projection",
        },
        prefix="biogpt.layers.{i}.",
    )
    ignored = ("layer_norm_eps",)  # this family's code always uses 1e-5

    vocab_size: key.VocabSize = 42384
    hidden_size: key.DModel = 1024
    intermediate_size: key.DFF = 4096
    num_hidden_layers: key.NLayers = 24
    num_attention_heads: key.NHeads = 16
    hidden_act: key.Activation = "gelu"
    max_position_embeddings: key.MaxLen = 1024
    hidden_dropout_prob: key.Dropout = 0.1
    tie_word_embeddings: key.TieWeights = True
