"""LG's EXAONE 3 (Llama with other names), and EXAONE 4.0 and MoE: norms on queries and keys, and windows."""

from typing import Annotated, Any

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.expert_layers import MlpLayerTypeKeys, expert_kind, n_leading_dense, put_expert_groups
from tinylm_cli.interop.families.llama import LlamaKeys
from tinylm_cli.interop.rope_scaling import RopeKeys, Theta
from tinylm_cli.interop.sliding_windows import WITHOUT_ROPE, OptionalWindowPeriod, WindowPeriodKeys
from tinylm_cli.interop.tensor_names import EMBEDDING, POST_NORM_NAMES, ROUTED_EXPERT_NAMES, Fused, TensorNames
from tinylm_cli.interop.translation import Translation


class ExaoneKeys(LlamaKeys):
    """``ExaoneConfig``."""

    tensor_names = TensorNames(
        top_level={EMBEDDING: "transformer.wte", "ln_f": "transformer.ln_f", "lm_head": "lm_head"},
        prefix="transformer.h.{i}.",
        layer={
            "ln_1": "ln_1",
            **{f"attention.{part}_proj": f"attn.attention.{part}_proj" for part in "qkv"},
            "attention.o_proj": "attn.attention.out_proj",
            "ln_2": "ln_2",
            "feed_forward.gate_proj": "mlp.c_fc_0",
            "feed_forward.up_proj": "mlp.c_fc_1",
            "feed_forward.down_proj": "mlp.c_proj",
        },
        recomputed_suffixes=("rotary.inv_freq",),
    )
    aliases = {
        "num_layers": "num_hidden_layers",
        "layer_norm_epsilon": "rms_norm_eps",
        "activation_function": "hidden_act",
    }
    ignored = ("embed_dropout",)  # training

    vocab_size: key.VocabSize = 102400
    intermediate_size: key.DFF = 14336
    num_key_value_heads: key.NKVHeads = 8
    max_position_embeddings: key.MaxLen = 4096
    rms_norm_eps: key.NormEps = 1e-5
    rope_theta: Theta = 500_000.0


class Exaone4Keys(WindowPeriodKeys, RopeKeys):
    """``Exaone4Config``: if there are windows, the layers without one have no RoPE."""

    constants = {**key.LLAMA_LIKE, "norm.placement": "post", "attention.qk_norm": "per_head"}
    tensor_names = POST_NORM_NAMES
    global_fields = WITHOUT_ROPE

    vocab_size: key.VocabSize = 102400
    intermediate_size: key.DFF = 16384
    num_key_value_heads: key.NKVHeads = 32
    head_dim: key.DHead = None
    rms_norm_eps: key.NormEps = 1e-5
    sliding_window_pattern: OptionalWindowPeriod = 4  # 0 without windows

    def window_pattern(self, to: Translation) -> tuple[str | None, str]:
        """Return the pattern; None without windows."""
        if self.sliding_window is None:
            to.ignore("sliding_window_pattern")
            return None, "sliding_window"
        return super().window_pattern(to)

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        keys = super().from_tinylm(config)
        if "sliding_attention" in keys["layer_types"]:
            return keys
        return keys | {"sliding_window": config.max_len if config.position.kind == "none" else None}


class ExaoneMoeKeys(MlpLayerTypeKeys, Exaone4Keys):
    """``ExaoneMoeConfig``: as in 4.0, but with norms before each sub-layer, and DeepSeek V3's experts."""

    constants = {
        **key.LLAMA_LIKE,
        "attention.qk_norm": "per_head",
        "feed_forward.router": "sigmoid",
        "feed_forward.score_correction": True,
    }
    tensor_names = ROUTED_EXPERT_NAMES.override(
        tensors=(Fused(("feed_forward.router.score_correction",), "mlp.e_score_correction_bias"),)
    )
    ignored = ("num_nextn_predict_layers",)  # multi-token prediction layers, which are not loaded

    num_experts: key.NExperts = 64
    num_experts_per_tok: key.TopK = 8
    num_shared_experts: key.NSharedExperts = 1
    moe_intermediate_size: key.DExpert = 1024
    norm_topk_prob: key.Renormalize = True
    routed_scaling_factor: key.RoutedScale = 2.5
    n_group: Annotated[int, *key.fills("feed_forward.n_groups")] = 1
    topk_group: key.OptionalSize = 1
    first_k_dense_replace: key.OptionalCount = 1

    def to_tinylm(self, to: Translation) -> None:
        """Map as 4.0, and the layers that have experts."""
        super().to_tinylm(to)
        put_expert_groups(to, self.n_group, self.topk_group)
        n_dense = self.first_k_dense_replace or 0
        self.put_sparse_layers(to, self.num_experts, "num_experts", n_dense, "first_k_dense_replace")

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        experts = expert_kind(config).feed_forward
        return super().from_tinylm(config) | {
            "num_experts": experts.n_experts,
            "topk_group": experts.top_k_groups,
            "first_k_dense_replace": n_leading_dense(config),
        }
