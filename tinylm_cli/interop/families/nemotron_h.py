"""NVIDIA's Nemotron-H and Nemotron 3: each layer is a Mamba-2 mixer, attention, or a feed-forward network."""

from typing import Annotated, Any

from tinylm_cli.config.layer_kinds import layer_pattern
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.families.mamba2 import Mamba2Keys
from tinylm_cli.interop.layer_order import kinds_of_types, put_layers
from tinylm_cli.interop.tensor_names import Fused
from tinylm_cli.interop.translation import Translation

_PROJECTIONS = ("up_proj", "down_proj")
_LETTERS = {"M": "linear_attention", "E": "moe", "*": "full_attention", "-": "mlp"}
_KINDS = {
    "linear_attention": "mamba",
    "mamba": "mamba",
    "full_attention": "attention",
    "attention": "attention",
    "mlp": "mlp",
    "moe": "moe",
}
"""The kind of each layer type, in its present and its earlier name."""


class NemotronHKeys(key.Keys):
    """``NemotronHConfig``: no positions; the kinds of layers are listed one by one."""

    constants = {
        "dropout": 0.0,
        "tie_weights": False,
        "embedding.multiplier": 1.0,
        "position.kind": "none",
        "norm.kind": "rmsnorm",
        "attention.bias": False,
    }
    tensor_names = Mamba2Keys.tensor_names.override(
        layer={
            "ln_2": "norm",
            **{f"attention.{part}_proj": f"mixer.{part}_proj" for part in "qkvo"},
            **{f"feed_forward.{part}": f"mixer.{part}" for part in _PROJECTIONS},
            **{f"feed_forward.shared_experts.{part}": f"mixer.shared_experts.{part}" for part in _PROJECTIONS},
            "feed_forward.router": "mixer.gate",
            "feed_forward.latent_in_proj": "mixer.fc1_latent_proj",
            "feed_forward.latent_out_proj": "mixer.fc2_latent_proj",
        },
        experts={f"feed_forward.experts.{part}": f"mixer.experts.{{e}}.{part}" for part in _PROJECTIONS},
        tensors=(
            *Mamba2Keys.tensor_names.tensors,
            Fused(("feed_forward.router.score_correction",), "mixer.gate.e_score_correction_bias"),
        ),
        prefix_maps=({"backbone.": "model."},),
    )
    aliases = {
        "layer_types": "layers_block_type",
        "num_local_experts": "n_routed_experts",
        "mamba_n_groups": "n_groups",
        "mamba_d_conv": "conv_kernel",
        "mamba_conv_bias": "use_conv_bias",
        "mamba_chunk_size": "chunk_size",
        "mamba_dt_min": "time_step_min",
        "attention_head_dim": "head_dim",  # in NVIDIA's own code
    }
    # transformers reads them for the initialization, to choose kernels, or not at all; among them are RoPE, which this
    # family does not apply, and multi-token prediction layers, which are not loaded
    ignored = (
        *("attention_bias", "expand", "hidden_dropout", "mamba_expand", "mamba_proj_bias", "mamba_ssm_cache_dtype"),
        *("moe_shared_expert_overlap", "mtp_hybrid_override_pattern", "mtp_layers_block_type", "n_shared_experts"),
        *("num_logits_to_keep", "rescale_prenorm_residual", "residual_in_fp32", "sliding_window", "time_step_floor"),
        *("time_step_limit", "time_step_max", "use_mamba_kernels", "rms_norm_eps", "norm_eps", "mamba_dt_max"),
        *("mamba_dt_limit", "mamba_dt_init_floor", "num_nextn_predict_layers", "partial_rotary_factor", "rope_theta"),
    )

    vocab_size: key.VocabSize = 131072
    hidden_size: key.DModel = 4096
    intermediate_size: key.DFF = 21504
    num_attention_heads: key.NHeads = 32
    num_key_value_heads: key.NKVHeads = 8
    head_dim: key.DHead = 128
    mlp_hidden_act: key.Activation = "relu2"
    mlp_bias: key.FeedForwardBias = False
    max_position_embeddings: key.MaxLen = 4096
    layer_norm_epsilon: key.NormEps = 1e-5
    tie_word_embeddings: bool = key.only(False, why="this family's code does not tie the LM head")
    num_hidden_layers: key.OptionalSize = None
    layers_block_type: key.LayerTypes = None
    hybrid_override_pattern: key.Text = None
    mamba_hidden_act: str = key.only("silu", "swish", why="tinylm activates the convolution with SiLU")
    mamba_num_heads: Annotated[int, *key.like("mamba2.n_heads")] = 128
    mamba_head_dim: Annotated[int, *key.like("mamba2.d_head")] = 64
    ssm_state_size: Annotated[int, *key.like("mamba2.d_state")] = 128
    n_groups: Annotated[int, *key.like("mamba2.n_groups")] = 8
    conv_kernel: Annotated[int, *key.like("mamba2.kernel_size")] = 4
    chunk_size: Annotated[int, *key.like("mamba2.chunk_len")] = 128
    use_bias: bool = False
    use_conv_bias: bool = True
    time_step_min: Annotated[float, *key.like("mamba2.min_dt")] = 0.001
    n_routed_experts: Annotated[int, *key.like("feed_forward.n_experts")] = 8
    num_experts_per_tok: Annotated[int, *key.like("feed_forward.top_k")] = 2
    moe_intermediate_size: Annotated[int, *key.like("feed_forward.d_expert")] = 7688
    moe_shared_expert_intermediate_size: Annotated[int, *key.like("feed_forward.d_expert")] = 7688
    moe_latent_size: Annotated[int | None, *key.like("feed_forward.d_latent")] = None
    routed_scaling_factor: Annotated[float, *key.like("feed_forward.routed_scale")] = 1.0
    n_group: Annotated[int, *key.like("feed_forward.n_groups")] = 1
    topk_group: Annotated[int, *key.like("feed_forward.top_k_groups")] = 1
    norm_topk_prob: bool = True

    def to_tinylm(self, to: Translation) -> None:
        """Map the layer kinds; each has one norm, and either a mixer or a feed-forward network."""
        listed, types = "layers_block_type", self.layers_block_type
        if types is None and self.hybrid_override_pattern is not None:
            listed = "hybrid_override_pattern"
            types = [_LETTERS.get(letter, letter) for letter in self.hybrid_override_pattern]
        types = ["linear_attention", "moe", "full_attention", "mlp"] if types is None else types
        if not types:
            to.contradiction(listed, f"{to.display(listed)} lists no layers", "give one type per layer")
        to.put("n_layers", len(types), listed)
        to.ignore("num_hidden_layers")
        if to.has_error(listed):
            return
        names = kinds_of_types(to, listed, types, _KINDS, len(types))
        if "mamba" in names:
            self._mamba(to)
        experts = self._experts() if "moe" in names else {}
        kinds: dict[str, dict[str, Any]] = {
            "mamba": {"block.mixer": "mamba2", "block.feed_forward": False},
            "attention": {"block.feed_forward": False},
            "mlp": {"block.mixer": "none"},
            "moe": {"block.mixer": "none", **experts},
        }
        put_layers(to, names, kinds, listed)

    def _mamba(self, to: Translation) -> None:
        for field, name in (
            ("n_heads", "mamba_num_heads"),
            ("d_head", "mamba_head_dim"),
            ("d_state", "ssm_state_size"),
            ("n_groups", "n_groups"),
            ("kernel_size", "conv_kernel"),
            ("chunk_len", "chunk_size"),
            ("bias", "use_bias"),
            ("conv_bias", "use_conv_bias"),
            ("min_dt", "time_step_min"),
        ):
            to.put(f"mamba2.{field}", getattr(self, name), name)

    def _experts(self) -> dict[str, Any]:
        """Return the fields of layers with experts."""
        groups = {"n_groups": self.n_group, "top_k_groups": self.topk_group} if self.n_group > 1 else {}
        fields = {
            "n_experts": self.n_routed_experts,
            "top_k": self.num_experts_per_tok,
            "d_expert": self.moe_intermediate_size,
            "d_latent": self.moe_latent_size,
            "expert_bias": False if self.mlp_bias else None,
            "n_shared_experts": 1,
            "d_shared_expert": self.moe_shared_expert_intermediate_size,
            "router": "sigmoid",
            "score_correction": True,
            "renormalize": self.norm_topk_prob,
            "routed_scale": self.routed_scaling_factor,
            **groups,
        }
        return {f"feed_forward.{name}": value for name, value in fields.items()}

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        kinds = list(layer_pattern(config))
        experts = next((kind for kind in kinds if kind.feed_forward.n_experts is not None), None)
        mamba = config.mamba2
        return {
            "layers_block_type": [_type(kind) for kind in kinds],
            "mamba_num_heads": max(config.mamba2_heads, 1),
            "mamba_head_dim": mamba.d_head,
            "ssm_state_size": mamba.d_state,
            "n_groups": mamba.n_groups,
            "conv_kernel": mamba.kernel_size,
            "chunk_size": mamba.chunk_len,
            "use_bias": mamba.bias,
            "use_conv_bias": mamba.conv_bias,
            "time_step_min": mamba.min_dt,
            **({} if experts is None else _expert_keys(experts)),
        }


def _type(kind: ModelConfig) -> str:
    """Return the layer type of a kind of layers."""
    if kind.block.mixer == "none":
        return "mlp" if kind.feed_forward.n_experts is None else "moe"
    return "linear_attention" if kind.block.mixer == "mamba2" else "full_attention"


def _expert_keys(kind: ModelConfig) -> dict[str, Any]:
    experts = kind.feed_forward
    return {
        "n_routed_experts": experts.n_experts,
        "num_experts_per_tok": experts.top_k,
        "moe_intermediate_size": kind.d_expert,
        "moe_latent_size": experts.d_latent,
        "moe_shared_expert_intermediate_size": kind.d_shared_experts or kind.d_expert,
        "norm_topk_prob": experts.renormalize,
        "routed_scaling_factor": experts.routed_scale,
        "n_group": experts.n_groups,
        "topk_group": experts.top_k_groups,
    }
