"""Microsoft's GIT, its text decoder: BERT with causal attention, whose images precede the text."""

from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.families.bert_generation import BertGenerationKeys
from tinylm_cli.interop.tensor_names import EMBEDDING


class GitKeys(key.Keys):
    """``GitConfig``, which has the keys of the language model at its top level."""

    constants = BertGenerationKeys.constants
    tensor_names = BertGenerationKeys.tensor_names.override(
        top_level={
            EMBEDDING: "git.embeddings.word_embeddings",
            "embedding.positional_encoding": "git.embeddings.position_embeddings",
            "embedding.norm": "git.embeddings.LayerNorm",
            "lm_head": "output",
        },
        prefix="git.encoder.layer.{i}.",
        skipped_prefixes=("git.image_encoder.", "git.visual_projection.", "git.img_temporal_embedding."),
        recomputed_suffixes=("embeddings.position_ids",),
    )
    ignored_outer_keys = ("vision_config", "num_image_with_embedding")

    vocab_size: key.VocabSize = 30522
    hidden_size: key.DModel = 768
    num_hidden_layers: key.NLayers = 6
    num_attention_heads: key.NHeads = 12
    intermediate_size: key.DFF = 3072
    hidden_act: key.Activation = "gelu"
    hidden_dropout_prob: key.Dropout = 0.1
    max_position_embeddings: key.MaxLen = 1024
    layer_norm_eps: key.NormEps = 1e-12
    position_embedding_type: str = key.only("absolute", why="this family's code has learned positions")
    tie_word_embeddings: key.TieWeights = False
