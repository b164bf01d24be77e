"""Hy4: GLM-5 with hyper-connections, sinks and a gate in latent attention, and clamped routed experts."""

from collections.abc import Collection, Mapping
from typing import Annotated, Any, ClassVar

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.families.sparse_attention import INDEXED_NAMES, GlmMoeDsaKeys
from tinylm_cli.interop.tensor_names import Fused, TensorLayout
from tinylm_cli.interop.translation import Translation

_READ = "this family's code reads indexer_types"
_PERIOD = 4
_HYPER = {"proj.weight": "fn", "base": "base", "scale": "scale"}
_CONNECTIONS = {"hyper_1": "hc_attn_layer", "hyper_2": "hc_mlp_layer"}


class HYV4Keys(GlmMoeDsaKeys):
    """``HYV4Config``: after the first layer, every fourth one selects positions, and the others share its selection."""

    constants: ClassVar[dict[str, Any]] = {
        **GlmMoeDsaKeys.constants,
        "position.pairing": "half",
        "attention.gate": True,
        "attention.sinks": True,
        "attention.index_pairing": "half",
        "attention.index_rope_last": True,
        "feed_forward.activation": "silu",
    }
    tensor_names = INDEXED_NAMES.override(
        layer={"attention.gate_proj": "self_attn.linear_gate"},
        experts={},
        tensors=(
            *INDEXED_NAMES.tensors,
            Fused(
                ("feed_forward.experts.gate_proj.weight", "feed_forward.experts.up_proj.weight"),
                "mlp.experts.gate_up_proj",
                TensorLayout.stacked,
            ),
            Fused(("feed_forward.experts.down_proj.weight",), "mlp.experts.down_proj"),
            Fused(("attention.sinks",), "self_attn.learnable_sink_param"),
            *(
                Fused((f"{ours}.{part}",), f"hc_pre.{theirs}.hc_{stored}")
                for ours, theirs in _CONNECTIONS.items()
                for part, stored in _HYPER.items()
            ),
        ),
        top_level_tensors={
            f"hyper_head.{part}": f"model.hc_pre.hc_head.hc_head_{stored}" for part, stored in _HYPER.items()
        },
        other_spellings={"mlp.gate_proj": "mlp.linear_gate", "shared_experts.gate_proj": "shared_experts.linear_gate"},
        skipped_prefixes=("model.mtp_layers.",),
    )
    aliases: ClassVar[Mapping[str, str]] = {"num_local_experts": "n_routed_experts"}
    ignored: ClassVar[Collection[str]] = (*GlmMoeDsaKeys.ignored, "learnable_sink_init")

    vocab_size: key.VocabSize = 120832
    hidden_size: key.DModel = 2816
    intermediate_size: key.DFF = 6912
    num_hidden_layers: key.NLayers = 34
    num_attention_heads: key.NHeads = 32
    hidden_act: str = key.only("silu", why="this family's code uses SwiGLU in the routed experts")
    max_position_embeddings: key.MaxLen = 262144
    q_lora_rank: Annotated[int, *key.fills("attention.q_rank")] = 1536
    moe_intermediate_size: key.DExpert = 768
    routed_scaling_factor: key.RoutedScale = 2.827
    first_k_dense_replace: int | None = key.only(1, why="this family's code reads mlp_layer_types")
    index_n_heads: Annotated[int, *key.fills("attention.index_n_heads")] = 16
    index_topk_pattern: key.AnyValue = key.only(why=_READ)
    index_topk_freq: int | None = key.only(why=_READ)
    index_skip_topk_offset: int | None = key.only(why=_READ)
    hc_mult: Annotated[int, *key.fills("block.hyper_streams")] = 4
    hc_magnitude: Annotated[float, *key.fills("block.hyper_write_scale")] = 2.0
    hc_eps: Annotated[float, *key.fills("block.hyper_eps")] = 1e-6
    swiglu_limit: Annotated[float, *key.fills("feed_forward.expert_clamp")] = 10.0

    def to_tinylm(self, to: Translation) -> None:
        """Map as GLM-5; the norm of the indexer's keys has the epsilon of the other norms of a layer."""
        super().to_tinylm(to)
        to.put("attention.index_norm_eps", self.rms_norm_eps)

    def _scheduled(self) -> list[str]:
        layers = range(self.num_hidden_layers)
        return ["shared" if layer and (layer - 1) % _PERIOD else "full" for layer in layers]

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        """Return the keys, without keys of GLM-5 that this family's code does not read."""
        unread = ("first_k_dense_replace", *(name for name in cls.model_fields if name.startswith("index_skip_topk")))
        return {name: value for name, value in super().from_tinylm(config).items() if name not in unread}
