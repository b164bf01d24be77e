"""Sarvam: GLM-4.5 with RoPE on whole heads and fused q, k and v; or DeepSeek V3 without compressed queries."""

from typing import Annotated

from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.families.deepseek import DeepseekV3Keys
from tinylm_cli.interop.families.glm import Glm4MoeKeys
from tinylm_cli.interop.rope_scaling import RotaryFraction, Theta
from tinylm_cli.interop.tensor_names import EMBEDDING, QKV, Fused

_ALIASES = {
    "num_local_experts": "n_routed_experts",
    "num_experts": "n_routed_experts",
    "num_shared_experts": "n_shared_experts",
}


class SarvamMoEKeys(Glm4MoeKeys):
    """``SarvamMoEConfig``."""

    tensor_names = Glm4MoeKeys.tensor_names.override(
        top_level={EMBEDDING: "model.word_embeddings"},
        layer={
            "attention.o_proj": "attention.dense",
            "attention.q_norm": "attention.query_layernorm",
            "attention.k_norm": "attention.key_layernorm",
        },
        fused=(Fused(QKV, "attention.query_key_value"),),
        tensors=(Fused(("feed_forward.router.score_correction",), "mlp.gate.expert_bias"),),
    )
    aliases = {**_ALIASES, "use_qkv_bias": "attention_bias"}
    # of the published config; read by no version of the code
    ignored = (*Glm4MoeKeys.ignored, "max_window_layers", "output_dropout", "moe_shared_expert_intermediate_size")

    vocab_size: key.VocabSize = 262144
    intermediate_size: key.DFF = 8192
    num_hidden_layers: key.NLayers = 19
    num_attention_heads: key.NHeads = 64
    num_key_value_heads: key.NKVHeads = 4
    head_dim: key.DHead = 64
    rms_norm_eps: key.NormEps = 1e-6
    rope_theta: Theta = 8e6
    partial_rotary_factor: RotaryFraction = 1.0
    num_experts_per_tok: key.TopK = 6
    moe_intermediate_size: key.DExpert = 1024
    routed_scaling_factor: key.RoutedScale = 2.5
    use_qk_norm: bool = True
    use_bias: bool = key.only(False, why="this family's code has biases only on q, k and v, if attention_bias is true")
    score_function: str = key.only("sigmoid", why="this family's code weights experts with a sigmoid")
    moe_router_enable_expert_bias: bool = key.only(True, why="this family's code corrects the scores of experts")


class SarvamMLAKeys(DeepseekV3Keys):
    """``SarvamMLAConfig``."""

    aliases = _ALIASES
    ignored = (*DeepseekV3Keys.ignored, "q_head_dim")  # derived, like qk_head_dim
    scaling_names = {"deepseek_yarn": "yarn"}

    vocab_size: key.VocabSize = 262144
    hidden_size: key.DModel = 4096
    intermediate_size: key.DFF = 16384
    num_hidden_layers: key.NLayers = 32
    num_attention_heads: key.NHeads = 64
    q_lora_rank: Annotated[int | None, *key.fills("attention.q_rank")] = None
    n_routed_experts: key.NExperts = 128
    first_k_dense_replace: key.OptionalCount = 1
    n_group: key.OptionalSize = 1
    topk_group: key.OptionalSize = 1
