"""Cohere's Command and Aya: parallel blocks with one LayerNorm without bias, and scaled logits."""

from typing import Annotated

from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.rope_scaling import RopeKeys, Theta
from tinylm_cli.interop.sliding_windows import WITHOUT_ROPE, WindowPeriodKeys


class _CohereKeys(key.LlamaLikeKeys, RopeKeys):
    """The keys that ``CohereConfig`` and ``Cohere2Config`` share."""

    constants = {
        **key.LLAMA_LIKE,
        "position.pairing": "adjacent",
        "norm.kind": "layernorm",
        "norm.bias": False,
        "block.parallel": True,
        "block.shared_norm": True,
    }

    vocab_size: key.VocabSize = 256000
    hidden_size: key.DModel = 8192
    intermediate_size: key.DFF = 22528
    num_hidden_layers: key.NLayers = 40
    num_attention_heads: key.NHeads = 64
    max_position_embeddings: key.MaxLen = 8192
    tie_word_embeddings: key.TieWeights = True
    layer_norm_eps: key.NormEps = 1e-5
    attention_bias: key.AttentionBias = False
    logit_scale: Annotated[float, *key.fills("head.logit_scale")] = 0.0625


class CohereKeys(_CohereKeys):
    """``CohereConfig``."""

    ignored = ("model_max_length",)  # of the tokenizer

    head_dim: key.DHead = None
    rope_theta: Theta = 500_000.0
    use_qk_norm: bool = key.only(False, why=key.QK_NORM_PER_HEAD)


class Cohere2Keys(_CohereKeys, WindowPeriodKeys):
    """``Cohere2Config``: the layers without a window, by default every fourth, have no RoPE."""

    # the architecture implies them; transformers does not read them
    ignored = (
        *("head_dim", "layer_switch", "order_of_interleaved_layers", "position_embedding_type", "rotary_pct"),
        *(
            "use_embedding_sharing",
            "use_gated_activation",
            "use_parallel_block",
            "use_parallel_embedding",
            "use_qk_norm",
        ),
    )
    global_fields = WITHOUT_ROPE

    sliding_window: Annotated[int, *key.like("attention.window")] = 4096
