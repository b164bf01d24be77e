"""Arcee's Trinity (AFMoE): gated attention, sandwich norms, and experts; layers without a window have no RoPE."""

from typing import Annotated, Any

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.expert_layers import expert_kind, n_leading_dense, put_expert_layers
from tinylm_cli.interop.rope_scaling import RopeKeys
from tinylm_cli.interop.sliding_windows import WITHOUT_ROPE, LayerWindowKeys
from tinylm_cli.interop.tensor_names import ROUTED_EXPERT_NAMES, Fused
from tinylm_cli.interop.translation import Translation


class AfmoeKeys(LayerWindowKeys, RopeKeys):
    """``AfmoeConfig``: every ``global_attn_every_n_layers``-th layer has no window."""

    constants = {
        **key.LLAMA_LIKE,
        "norm.placement": "sandwich",
        "attention.qk_norm": "per_head",
        "attention.gate": True,
        "feed_forward.router": "sigmoid",
        "feed_forward.score_correction": True,
        "feed_forward.renormalize": True,
    }
    tensor_names = ROUTED_EXPERT_NAMES.override(
        layer={
            "attention.gate_proj": "self_attn.gate_proj",
            "post_ln_1": "post_attention_layernorm",
            "ln_2": "pre_mlp_layernorm",
            "post_ln_2": "post_mlp_layernorm",
            "feed_forward.router": "mlp.router.gate",
        },
        tensors=(Fused(("feed_forward.router.score_correction",), "mlp.expert_bias"),),
    )
    global_fields = WITHOUT_ROPE
    # other names of values that the family's code does not read
    ignored = (
        *("load_balance_coeff", "n_group", "topk_group", "num_expert_groups", "num_limited_groups", "route_norm"),
        *("score_func", "use_grouped_mm"),
    )

    vocab_size: key.VocabSize = 200192
    hidden_size: key.DModel = 2048
    intermediate_size: key.DFF = 6144
    num_attention_heads: key.NHeads = 16
    head_dim: key.DHead = 128
    max_position_embeddings: key.MaxLen = 16384
    rms_norm_eps: key.NormEps = 1e-5
    attention_bias: bool = key.only(False, why="tinylm cannot add biases without one of the gate")
    sliding_window: Annotated[int, *key.like("attention.window")] = 1024
    global_attn_every_n_layers: key.OptionalSize = 4
    num_dense_layers: key.OptionalCount = 1
    num_experts: key.NExperts = 64
    num_experts_per_tok: key.TopK = 6
    num_shared_experts: key.NSharedExperts = 2
    moe_intermediate_size: key.DExpert = 1408
    route_scale: key.RoutedScale = 1.0
    mup_enabled: bool = False

    def window_pattern(self, to: Translation) -> tuple[str | None, str]:  # noqa: ARG002
        """Return the pattern: every ``global_attn_every_n_layers``-th layer is global."""
        step = self.global_attn_every_n_layers or 1
        letters = ("L" if (i + 1) % step else "G" for i in range(self.num_hidden_layers))
        return "".join(letters), "global_attn_every_n_layers"

    def to_tinylm(self, to: Translation) -> None:
        """Map windows, the layers that have experts, and the multiplier √d_model of ``mup_enabled``."""
        super().to_tinylm(to)
        if self.mup_enabled:
            to.put("embedding.multiplier", None)
        if to.has_error("num_hidden_layers", "layer_types"):
            return
        is_dense = [layer < (self.num_dense_layers or 0) for layer in range(self.num_hidden_layers)]
        put_expert_layers(to, self.num_experts, "num_experts", is_dense, "num_dense_layers")

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        return super().from_tinylm(config) | {
            "num_experts": expert_kind(config).feed_forward.n_experts,
            "num_dense_layers": n_leading_dense(config),
            "mup_enabled": config.embedding.multiplier != 1,
        }
