"""Cohere's Command R and Aya: parallel blocks with one LayerNorm without bias, and scaled logits."""

from typing import Annotated

from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.rope_scaling import RopeKeys, Theta


class CohereKeys(key.LlamaLikeKeys, RopeKeys):
    """``CohereConfig``."""

    constants = {
        **key.LLAMA_LIKE,
        "position.pairing": "adjacent",
        "norm.kind": "layernorm",
        "norm.bias": False,
        "block.parallel": True,
        "block.shared_norm": True,
    }
    ignored = ("model_max_length",)  # of the tokenizer

    vocab_size: key.VocabSize = 256000
    hidden_size: key.DModel = 8192
    intermediate_size: key.DFF = 22528
    num_hidden_layers: key.NLayers = 40
    num_attention_heads: key.NHeads = 64
    head_dim: key.DHead = None
    max_position_embeddings: key.MaxLen = 8192
    tie_word_embeddings: key.TieWeights = True
    rope_theta: Theta = 500_000.0
    layer_norm_eps: key.NormEps = 1e-5
    attention_bias: key.AttentionBias = False
    logit_scale: Annotated[float, *key.fills("head.logit_scale")] = 0.0625
    use_qk_norm: bool = key.only(False, why=key.QK_NORM_PER_HEAD)
