"""Karpathy's nanochat: ReLU², norms without weights, also on queries and keys after RoPE, and soft-capped logits."""

from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.rope_scaling import RopeKeys
from tinylm_cli.interop.tensor_names import LLAMA_NAMES, Fused, TensorLayout


class NanoChatKeys(key.LlamaLikeKeys, RopeKeys):
    """``NanoChatConfig``: RoPE rotates by negative angles, so that the halves of each query and key are swapped."""

    constants = {
        **key.LLAMA_LIKE,
        "embedding.norm": True,
        "norm.weight": False,
        "attention.qk_norm": "per_head",
        "attention.qk_norm_after_rope": True,
        "feed_forward.gated": False,
    }
    tensor_names = LLAMA_NAMES.override(
        layer={"feed_forward.up_proj": "mlp.fc1", "feed_forward.down_proj": "mlp.fc2"},
        fused=tuple(
            Fused((f"attention.{part}_proj",), f"self_attn.{part}_proj", TensorLayout.swapped_halves) for part in "qk"
        ),
    )

    vocab_size: key.VocabSize = 50304
    hidden_size: key.DModel = 768
    intermediate_size: key.DFF = 8192
    num_hidden_layers: key.NLayers = 12
    num_attention_heads: key.NHeads = 6
    hidden_act: key.Activation = "relu2"
    rms_norm_eps: key.NormEps = 1e-6
    attention_bias: key.AttentionBias = False
    final_logit_softcapping: key.LogitSoftcap = 15.0
