"""AI21's Jamba: Mamba layers, attention in every n-th layer, experts in every m-th."""

from typing import Annotated, Any

from tinylm_cli.config.layer_kinds import layer_pattern
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.expert_layers import dense_layers, expert_kind, put_expert_layers
from tinylm_cli.interop.layer_order import put_layers
from tinylm_cli.interop.mamba_keys import DtRank, mamba_names, put_dt_rank
from tinylm_cli.interop.tensor_names import LLAMA_NAMES, mlp
from tinylm_cli.interop.translation import Translation

_MODULES, _TENSORS = mamba_names("mamba")


class JambaKeys(key.LlamaLikeKeys):
    """``JambaConfig``: no positions."""

    constants = {
        **key.LLAMA_LIKE,
        "position.kind": "none",
        "feed_forward.router": "softmax",
        "feed_forward.renormalize": False,
    }
    tensor_names = LLAMA_NAMES.override(
        top_level={"ln_f": "model.final_layernorm"},
        layer={
            "ln_2": "pre_ff_layernorm",
            "feed_forward.router": "feed_forward.router",
            **mlp("feed_forward", "feed_forward"),
            **_MODULES,
        },
        experts=mlp("feed_forward.experts", "feed_forward.experts.{e}"),
        tensors=_TENSORS,
    )
    aliases = {"num_local_experts": "num_experts"}
    # transformers does not read them, or only to choose kernels
    ignored = (
        "calc_logits_for_entire_prompt",
        "num_logits_to_keep",
        "use_associative_scan",
        "use_mamba_kernels",
        "use_mambapy",
    )

    vocab_size: key.VocabSize = 65536
    intermediate_size: key.DFF = 14336
    num_key_value_heads: key.NKVHeads = 8
    mamba_inner_layernorms: bool = key.only(True, why="this family's code always has these norms")
    hidden_act: key.Activation = key.only("silu", "swish", why="tinylm activates the convolution with SiLU")
    rms_norm_eps: key.NormEps = 1e-6
    max_position_embeddings: key.MaxLen = 262_144
    sliding_window: int | None = key.only(why="this family's code has no sliding windows")
    num_experts: key.Size = 16
    num_experts_per_tok: key.TopK = 2
    expert_layer_period: key.Size = 2
    expert_layer_offset: key.Count = 1
    attn_layer_period: key.Size = 8
    attn_layer_offset: key.Count = 4
    mamba_d_state: Annotated[int, *key.like("mamba.d_state")] = 16
    mamba_d_conv: Annotated[int, *key.like("mamba.kernel_size")] = 4
    mamba_expand: key.Size = 2
    mamba_dt_rank: DtRank = "auto"
    mamba_conv_bias: bool = True
    mamba_proj_bias: bool = False

    def to_tinylm(self, to: Translation) -> None:
        """Map the layers that have attention, those that have experts, and the Mamba mixers."""
        super().to_tinylm(to)
        layers = range(self.num_hidden_layers)
        for period, offset in (
            ("expert_layer_period", "expert_layer_offset"),
            ("attn_layer_period", "attn_layer_offset"),
        ):
            if getattr(self, offset) >= getattr(self, period):
                message = f"{offset} {getattr(self, offset)} must be below {period} {getattr(self, period)}"
                to.contradiction(offset, message, f"write {offset}: 0", period)
                return
        for field, name in (
            ("d_state", "mamba_d_state"),
            ("kernel_size", "mamba_d_conv"),
            ("bias", "mamba_proj_bias"),
            ("conv_bias", "mamba_conv_bias"),
        ):
            to.put(f"mamba.{field}", getattr(self, name), name)
        to.put("mamba.norm", "weighted")
        to.put("mamba.d_inner", self.mamba_expand * self.hidden_size, "mamba_expand", "hidden_size")
        put_dt_rank(to, "mamba_dt_rank", self.mamba_dt_rank)
        n_experts = self.num_experts if self.num_experts > 1 else None
        to.put("feed_forward.n_experts", n_experts, "num_experts")  # without it, put_layers would reset the router
        attends = [layer % self.attn_layer_period == self.attn_layer_offset for layer in layers]
        names = ["attention" if attention else "mamba" for attention in attends]
        keys = ("attn_layer_period", "attn_layer_offset")
        put_layers(to, names, {"mamba": {"block.mixer": "mamba"}, "attention": {}}, *keys)
        is_dense = [layer % self.expert_layer_period != self.expert_layer_offset for layer in layers]
        put_expert_layers(to, n_experts, "num_experts", is_dense, "expert_layer_period", "expert_layer_offset")

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        """Return the keys; the layers with attention and those with experts are at equal distances, or not written."""
        kinds = list(layer_pattern(config))
        mamba = next((kind for kind in kinds if kind.block.mixer == "mamba"), config)
        settings = mamba.mamba
        experts = expert_kind(config).feed_forward
        has_experts = [not dense for dense in dense_layers(config)]
        return super().from_tinylm(config) | {
            "num_experts": experts.n_experts or 1,
            "num_experts_per_tok": experts.top_k,
            **_period("expert_layer", has_experts),
            **_period("attn_layer", [kind.block.mixer == "attention" for kind in kinds]),
            "mamba_d_state": settings.d_state,
            "mamba_d_conv": settings.kernel_size,
            "mamba_expand": max(mamba.mamba_d_inner // mamba.d_model, 1),
            "mamba_dt_rank": mamba.mamba_dt_rank,
            "mamba_conv_bias": settings.conv_bias,
            "mamba_proj_bias": settings.bias,
        }


def _period(name: str, chosen: list[bool]) -> dict[str, int]:
    """Return the period and the offset of the layers that are chosen; beyond the last layer if none is."""
    first = [*chosen, True].index(True)
    second = [*chosen[first + 1 :], True].index(True) + 1
    period = max(second, first + 1)
    return {f"{name}_period": period, f"{name}_offset": first}
