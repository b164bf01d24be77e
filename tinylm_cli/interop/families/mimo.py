"""Xiaomi's MiMo-V2-Flash: values of fewer dimensions than keys, sinks and more KV heads in layers with a window."""

from typing import Annotated, Any

from tinylm_cli.config.layer_kinds import layer_pattern
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.expert_layers import NETWORKS, expert_kind, put_expert_groups
from tinylm_cli.interop.layer_order import kinds_of_types
from tinylm_cli.interop.sliding_windows import LETTERS, LayerRopeParameters
from tinylm_cli.interop.tensor_names import EXPERT_NAMES, Fused
from tinylm_cli.interop.translation import Translation
from tinylm_cli.interop.typed_layers import TypedLayerKeys

_FRACTION = 0.334
_BLOCKS = {
    "full_attention": {"rope_theta": 5e6, "partial_rotary_factor": _FRACTION},
    "sliding_attention": {"rope_theta": 1e4, "partial_rotary_factor": _FRACTION},
}
_PERIOD = 6
"""By default, the first layer and every sixth attend to all positions."""

_LOCAL_KV_HEADS = 2
"""A layer with a window has twice as many KV heads."""


class MiMoV2FlashKeys(TypedLayerKeys):
    """``MiMoV2FlashConfig``: by default, five of six layers have a window, and all but the first have experts.

    Its factor of the values is the multiplier of the output, because the output projection has no bias.
    """

    constants = {
        **key.LLAMA_LIKE,
        "attention.out_bias": False,
        "feed_forward.router": "sigmoid",
        "feed_forward.score_correction": True,
    }
    tensor_names = EXPERT_NAMES.override(
        tensors=(
            Fused(("attention.sinks",), "self_attn.attention_sink_bias"),
            Fused(("feed_forward.router.score_correction",), "mlp.gate.e_score_correction_bias"),
        ),
        skipped_prefixes=("model.mtp.",),
    )
    aliases = {"num_local_experts": "n_routed_experts"}
    default_fraction = _FRACTION
    # published keys that this family's code does not read
    ignored = (
        *("add_full_attention_sink_bias", "add_swa_attention_sink_bias", "attention_chunk_size", "hybrid_block_size"),
        *("hybrid_layer_pattern", "layernorm_epsilon", "moe_layer_freq", "n_shared_experts", "partial_rotary_factor"),
        *("rope_theta", "scoring_func", "swa_head_dim", "swa_num_attention_heads", "swa_num_key_value_heads"),
        *("swa_rope_theta", "swa_v_head_dim", "topk_method"),
    )

    vocab_size: key.VocabSize = 152576
    hidden_size: key.DModel = 4096
    intermediate_size: key.DFF = 16384
    num_hidden_layers: key.NLayers = 48
    num_attention_heads: key.NHeads = 64
    num_key_value_heads: Annotated[int, *key.fills("attention.n_kv_heads")] = 4
    head_dim: key.DHead = 192
    v_head_dim: Annotated[int, *key.fills("attention.d_value")] = 128
    attention_value_scale: Annotated[float | None, *key.like("attention.out_multiplier")] = 0.707
    hidden_act: key.Activation = "silu"
    tie_word_embeddings: key.TieWeights = False
    rms_norm_eps: key.NormEps = 1e-5
    attention_bias: key.AttentionBias = False
    sliding_window: Annotated[int, *key.like("attention.window")] = 129
    sliding_window_size: key.OptionalCount = None
    rope_parameters: LayerRopeParameters = LayerRopeParameters.model_validate(_BLOCKS)
    n_routed_experts: key.NExperts = 256
    num_experts_per_tok: key.TopK = 8
    moe_intermediate_size: key.DExpert = 2048
    routed_scaling_factor: Annotated[float | None, *key.fills("feed_forward.routed_scale")] = 1.0
    n_group: Annotated[int, *key.fills("feed_forward.n_groups")] = 1
    topk_group: key.OptionalSize = 1
    norm_topk_prob: key.Renormalize = True

    def to_tinylm(self, to: Translation) -> None:
        """Map the factor of the values, the groups of experts, and the kinds of layers."""
        super().to_tinylm(to)
        scale = 1.0 if self.attention_value_scale is None else self.attention_value_scale
        to.put("attention.out_multiplier", scale, "attention_value_scale")
        put_expert_groups(to, self.n_group, self.topk_group)
        if to.has_error("num_hidden_layers", "num_key_value_heads", "rope_parameters"):
            return
        n_layers = self.num_hidden_layers
        types = self.layer_types or [
            "sliding_attention" if layer and (layer + 1) % _PERIOD else "full_attention" for layer in range(n_layers)
        ]
        networks = self.mlp_layer_types or ["dense"] + ["sparse"] * (n_layers - 1)
        windows = kinds_of_types(to, "layer_types", types, {name: name for name in LETTERS}, n_layers)
        networks = kinds_of_types(to, "mlp_layer_types", networks, NETWORKS, n_layers)
        if windows and networks:
            local = {"attention.n_kv_heads": _LOCAL_KV_HEADS * self.num_key_value_heads, "attention.sinks": True}
            if self.sliding_window_size is not None:  # without the position itself
                local["attention.window"] = self.sliding_window_size + 1
            own = [local if window == "sliding_attention" else {} for window in windows]
            self.put_typed_layers(to, windows, networks, own)

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        """Return the keys; without global layers, they have half the KV heads of the layers with a window."""
        kinds = layer_pattern(config).kinds
        full = next((kind for kind in kinds if kind.attention.window is None), None)
        n_kv_heads = max(kinds[0].n_kv_heads // _LOCAL_KV_HEADS, 1) if full is None else full.n_kv_heads
        experts = expert_kind(config).feed_forward
        return super().from_tinylm(config) | {
            "num_key_value_heads": n_kv_heads,
            "head_dim": config.d_head,
            "v_head_dim": config.d_value_per_kv_head,
            "attention_value_scale": config.attention.out_multiplier,
            "n_routed_experts": experts.n_experts or cls.model_fields["n_routed_experts"].default,
            "topk_group": experts.top_k_groups,
        }
