"""LongCat-Flash: latent attention, and shortcut-connected experts; zero-computation experts return their input.

A layer in transformers is two layers in tinylm: the first has the experts, and the second adds their output. The dense
network of the first is a shared expert. transformers also allocates unused gate and up projections for
zero-computation experts.
"""

from typing import Annotated, Any

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.expert_layers import expert_kind
from tinylm_cli.interop.families.deepseek import IGNORED, LATENT, LatentKeys
from tinylm_cli.interop.layer_order import put_layers
from tinylm_cli.interop.rope_scaling import Theta
from tinylm_cli.interop.tensor_names import EMBEDDING, Fused, TensorNames, mlp
from tinylm_cli.interop.translation import Translation

SUBLAYERS = 2
"""Layers of tinylm in one of transformers."""

_ATTENTION = {
    **{f"{part}_proj": f"{part}_proj" for part in ("q_a", "q_b", "kv_b", "o")},
    "kv_a_proj": "kv_a_proj_with_mqa",
    "q_a_norm": "q_a_layernorm",
    "kv_a_norm": "kv_a_layernorm",
}


def _unused(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the gate and up projections of zero-computation experts."""
    kind = expert_kind(config)
    first, n_scores = kind.feed_forward.n_experts or 0, kind.feed_forward.n_scores
    return {
        f"model.layers.{layer}.mlp.experts.{expert}.{part}_proj.weight": (kind.d_expert, kind.d_model)
        for layer in range(config.n_layers // SUBLAYERS)
        for expert in range(first, n_scores)
        for part in ("gate", "up")
    }


class LongcatFlashKeys(LatentKeys):
    """``LongcatFlashConfig``."""

    constants = {
        **LATENT,
        "attention.scale_latents": True,
        "feed_forward.router": "softmax",
        "feed_forward.score_correction": True,
        "feed_forward.renormalize": False,
        "feed_forward.shortcut": True,
    }
    tensor_names = TensorNames(
        top_level={EMBEDDING: "model.embed_tokens", "ln_f": "model.norm", "lm_head": "lm_head"},
        prefix="model.layers.{i}.",
        layer={
            "ln_1": "input_layernorm.{s}",
            "ln_2": "post_attention_layernorm.{s}",
            **{f"attention.{ours}": f"self_attn.{{s}}.{theirs}" for ours, theirs in _ATTENTION.items()},
            "feed_forward.router": "mlp.router.classifier",
            **mlp("feed_forward.shared_experts", "mlps.0"),
            **mlp("feed_forward", "mlps.1"),
        },
        experts=mlp("feed_forward.experts", "mlp.experts.{e}"),
        tensors=(Fused(("feed_forward.router.score_correction",), "mlp.router.e_score_correction_bias"),),
        n_sublayers=SUBLAYERS,
        unused=_unused,
        skipped_prefixes=("model.mtp.",),
    )
    aliases = {
        "ffn_hidden_size": "intermediate_size",
        "expert_ffn_hidden_size": "moe_intermediate_size",
        "moe_topk": "num_experts_per_tok",
        "num_local_experts": "n_routed_experts",
    }
    ignored = tuple(name for name in IGNORED if name not in ("head_dim", "qk_head_dim"))

    vocab_size: key.VocabSize = 131072
    hidden_size: key.DModel = 6144
    intermediate_size: key.DFF = 12288
    num_layers: key.Size = 28
    num_hidden_layers: key.AnyValue = None
    num_attention_heads: key.NHeads = 64
    max_position_embeddings: key.MaxLen = 131072
    rms_norm_eps: key.NormEps = 1e-5
    q_lora_rank: Annotated[int, *key.fills("attention.q_rank")] = 1536
    head_dim: key.OptionalSize = 64
    qk_head_dim: key.OptionalSize = None
    n_routed_experts: key.NExperts = 512
    zero_expert_num: Annotated[int, *key.fills("feed_forward.n_zero_experts")] = 256
    zero_expert_type: str = key.only("identity", why="the code of this family returns the input of such experts")
    num_experts_per_tok: key.TopK = 12
    moe_intermediate_size: key.DExpert = 2048
    routed_scaling_factor: key.RoutedScale = 6.0
    router_bias: bool = key.only(False, why="the code of this family does not add the bias of the router")
    rope_theta: Theta = 10_000_000.0

    def to_tinylm(self, to: Translation) -> None:
        """Map the two layers stored as one, and the dense network in parallel with the experts, a shared expert."""
        super().to_tinylm(to)
        to.put("n_layers", SUBLAYERS * self.num_layers, "num_layers")
        if self.num_hidden_layers not in (None, SUBLAYERS * self.num_layers):
            message = "num_hidden_layers counts the attentions, two for each of num_layers"
            to.contradiction("num_hidden_layers", message, "omit num_hidden_layers", "num_layers")
        d_head = self.qk_nope_head_dim + self.qk_rope_head_dim
        if self.qk_head_dim not in (None, d_head):
            to.unsupported("qk_head_dim", f"qk_nope_head_dim and qk_rope_head_dim are {d_head} together")
        if self.head_dim != self.qk_rope_head_dim:
            to.unsupported(
                "head_dim", "RoPE rotates qk_rope_head_dim dimensions", "write the value of qk_rope_head_dim"
            )
        to.put("feed_forward.n_shared_experts", 1)
        to.put("feed_forward.d_shared_expert", self.intermediate_size, "intermediate_size")
        kinds = {"experts": {}, "dense": {"feed_forward.n_experts": None}}
        put_layers(to, ["experts", "dense"] * self.num_layers, kinds, "num_layers")

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        """Return the keys, including those of layers with experts."""
        return super().from_tinylm(config) | {
            "n_routed_experts": expert_kind(config).feed_forward.n_experts,
            "num_layers": config.n_layers // SUBLAYERS,
            "head_dim": config.attention.d_rope,
        }
