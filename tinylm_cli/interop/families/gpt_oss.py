"""gpt-oss: experts with biases and clamped activations, attention sinks, sliding windows in every second layer."""

# no deferred annotations, as in config.blocks

from typing import Annotated, Any

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.families import Family
from tinylm_cli.interop.rope_scaling import RopeKeys, rope, rope_keys
from tinylm_cli.interop.sliding_windows import alternate, layer_window_keys, layer_windows
from tinylm_cli.interop.tensor_names import LLAMA_NAMES, TensorLayout
from tinylm_cli.interop.translation import Translation


class GptOssKeys(RopeKeys):
    """``GptOssConfig``."""

    vocab_size: key.VocabSize = 201088
    hidden_size: key.DModel = 2880
    intermediate_size: key.DFF = 2880
    num_hidden_layers: key.NLayers = 36
    num_attention_heads: key.NHeads = 64
    num_key_value_heads: key.NKVHeads = 8
    head_dim: key.DHead = 64
    max_position_embeddings: key.MaxLen = 131072
    rms_norm_eps: key.NormEps = 1e-5
    tie_word_embeddings: key.TieWeights = False
    attention_bias: key.AttentionBias = True
    num_local_experts: key.NExperts = 128
    num_experts_per_tok: key.TopK = 4
    swiglu_limit: Annotated[float | None, *key.fills("feed_forward.clamp")] = 7.0
    swiglu_alpha: Annotated[float, *key.only(1.702, why="quick_gelu's slope is 1.702")] = 1.702
    hidden_act: Annotated[str, *key.only("silu", why="this family's code has its own activation")] = "silu"
    sliding_window: key.Window = 128
    layer_types: key.LayerTypes = None


def _gpt_oss(keys: GptOssKeys, to: Translation) -> None:
    yarn = {
        "position.scaling": "yarn",
        "position.scaling_factor": 32.0,
        "position.original_max_len": 4096,
        "position.truncate": False,
    }
    rope(keys, to, theta=150_000.0, default=yarn)
    layer_windows(keys, to, alternate(keys.num_hidden_layers))


def _gpt_oss_keys(config: ModelConfig) -> dict[str, Any]:
    """Return the keys; ``rope_scaling`` is always written, because its absence means YaRN in this family."""
    keys = {**rope_keys(config), **layer_window_keys(config)}
    return {**keys, "rope_scaling": keys["rope_scaling"] or {"rope_type": "default"}}


def _stacked(kind: str, suffix: str, alternating: TensorLayout, down: TensorLayout) -> tuple[Any, ...]:
    """Return the names of the experts' weights or biases, which are stacked over all experts."""
    gate_up = (f"feed_forward.experts.gate_proj.{kind}", f"feed_forward.experts.up_proj.{kind}")
    return (
        (gate_up, f"mlp.experts.gate_up_proj{suffix}", alternating),
        ((f"feed_forward.experts.down_proj.{kind}",), f"mlp.experts.down_proj{suffix}", down),
    )


GPT_OSS = Family(
    model_type="gpt_oss",
    architecture="GptOssForCausalLM",
    title="gpt-oss",
    keys=GptOssKeys,
    constants={
        **key.LLAMA_LIKE,
        "attention.sinks": True,
        "feed_forward.activation": "quick_gelu",
        "feed_forward.bias": True,
        "feed_forward.router": "topk_softmax",
        "feed_forward.router_bias": True,
    },
    to_tinylm=_gpt_oss,
    from_tinylm=_gpt_oss_keys,
    tensor_names=LLAMA_NAMES.override(
        layer={"feed_forward.router": "mlp.router"},
        exact={"attention.sinks": "self_attn.sinks"},
        stacked=(
            *_stacked("weight", "", TensorLayout.alternating, TensorLayout.transposed),
            *_stacked("bias", "_bias", TensorLayout.alternating, TensorLayout.same),
        ),
    ),
    ignored=frozenset(["experts_per_token", "initial_context_length"]),  # duplicates of other keys
    aliases={"num_experts": "num_local_experts"},
)
