"""gpt-oss: experts with biases and clamped activations, attention sinks, sliding windows in every second layer."""

from typing import Annotated

from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.rope_scaling import RopeKeys, RopeParameters, Theta
from tinylm_cli.interop.sliding_windows import LayerWindowKeys
from tinylm_cli.interop.tensor_names import LLAMA_NAMES, Fused, TensorLayout

_YARN = {"rope_type": "yarn", "factor": 32.0, "original_max_position_embeddings": 4096, "truncate": False}


def _stacked(kind: str, suffix: str, down: TensorLayout) -> tuple[Fused, Fused]:
    """Return the names of the experts' weights or biases, which are stacked over all experts."""
    gate_up = (f"feed_forward.experts.gate_proj.{kind}", f"feed_forward.experts.up_proj.{kind}")
    return (
        Fused(gate_up, f"mlp.experts.gate_up_proj{suffix}", TensorLayout.alternating),
        Fused((f"feed_forward.experts.down_proj.{kind}",), f"mlp.experts.down_proj{suffix}", down),
    )


class GptOssKeys(LayerWindowKeys, RopeKeys):
    """``GptOssConfig``."""

    constants = {
        **key.LLAMA_LIKE,
        "attention.sinks": True,
        "feed_forward.activation": "quick_gelu",
        "feed_forward.bias": True,
        "feed_forward.router": "topk_softmax",
        "feed_forward.router_bias": True,
    }
    tensor_names = LLAMA_NAMES.override(
        layer={"feed_forward.router": "mlp.router"},
        tensors=(
            Fused(("attention.sinks",), "self_attn.sinks"),
            *_stacked("weight", "", TensorLayout.transposed),
            *_stacked("bias", "_bias", TensorLayout.plain),
        ),
    )
    aliases = {"num_experts": "num_local_experts"}
    ignored = ("experts_per_token", "initial_context_length")  # duplicates of other keys

    vocab_size: key.VocabSize = 201088
    hidden_size: key.DModel = 2880
    intermediate_size: key.DFF = 2880
    num_hidden_layers: key.NLayers = 36
    num_attention_heads: key.NHeads = 64
    num_key_value_heads: key.NKVHeads = 8
    head_dim: key.DHead = 64
    max_position_embeddings: key.MaxLen = 131072
    rms_norm_eps: key.NormEps = 1e-5
    rope_theta: Theta = 150_000.0
    rope_parameters: RopeParameters | None = RopeParameters.model_validate(_YARN)
    attention_bias: key.AttentionBias = True
    num_local_experts: key.NExperts = 128
    num_experts_per_tok: key.TopK = 4
    swiglu_limit: Annotated[float | None, *key.fills("feed_forward.clamp")] = 7.0
    swiglu_alpha: float = key.only(1.702, why="quick_gelu's slope is 1.702")
    hidden_act: str = key.only("silu", why="this family's code hard-codes its activation")
    sliding_window: key.LayerWindow = 128
