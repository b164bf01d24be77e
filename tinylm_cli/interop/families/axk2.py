"""A.X K2: DeepSeek V3.2 whose norms before sub-layers have gates, and whose queries have a gate of the output."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.families.sparse_attention import INDEXED_NAMES, IndexedKeys
from tinylm_cli.interop.tensor_names import Fused, TensorLayout
from tinylm_cli.interop.translation import Translation

_GATE = {"down": "W_down", "up": "W_up"}
_GATED_NORMS = {
    f"{norm}.{part}": f"{stored}.{stored_part}"
    for norm, stored in (("ln_1", "input_layernorm"), ("ln_2", "post_attention_layernorm"))
    for part, stored_part in {"norm": "norm", **_GATE}.items()
}


class AXK2Keys(IndexedKeys):
    """``AXK2Config``: dense layers have no gate in the norm before their network."""

    constants: ClassVar[dict[str, Any]] = {
        **IndexedKeys.constants,
        "attention.gate": True,
        "attention.q_concat_raw": True,
    }
    tensor_names = INDEXED_NAMES.override(
        layer=_GATED_NORMS,
        fused=(Fused(("attention.q_b_proj", "attention.gate_proj"), "self_attn.q_b_proj", TensorLayout.by_head),),
    )
    dense_fields: ClassVar[Mapping[str, Any]] = {"block.feed_forward_norm_gate_rank": None}

    vocab_size: key.VocabSize = 163840
    hidden_size: key.DModel = 2048
    intermediate_size: key.DFF = 5120
    num_hidden_layers: key.NLayers = 48
    num_attention_heads: key.NHeads = 32
    max_position_embeddings: key.MaxLen = 131072
    kv_lora_rank: Annotated[int, *key.fills("attention.kv_rank")] = 128
    q_lora_rank: Annotated[int, *key.fills("attention.q_rank")] = 384
    qk_rope_head_dim: Annotated[int, *key.fills("attention.d_rope")] = 32
    v_head_dim: Annotated[int, *key.fills("attention.d_value")] = 64
    qk_nope_head_dim: Annotated[int, *key.fills("attention.d_nope")] = 64
    n_routed_experts: key.NExperts = 128
    moe_intermediate_size: key.DExpert = 512
    n_group: key.OptionalSize = None  # type: ignore[assignment]  # null selects from all experts
    topk_group: key.OptionalSize = None
    first_k_dense_replace: key.OptionalCount = 1
    index_n_heads: Annotated[int, *key.fills("attention.index_n_heads")] = 16
    gated_norm_rank: Annotated[int, *key.fills("block.mixer_norm_gate_rank", "block.feed_forward_norm_gate_rank")] = 16

    def to_tinylm(self, to: Translation) -> None:
        """Map as DeepSeek V3.2; experts of groups that are not selected have a score of 0."""
        if (self.n_group or 1) > 1:
            to.put("feed_forward.n_groups", self.n_group, "n_group")
            to.put("feed_forward.zero_other_groups", True, "n_group")
        for name, other in (("n_group", "topk_group"), ("topk_group", "n_group")):
            if getattr(self, name) is None and getattr(self, other) is not None:
                to.missing(name, f"{other} is set", f'for example "{name}": {getattr(self, other)}')
        super().to_tinylm(to)

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        keys = super().from_tinylm(config)
        groups = {"n_group": keys["n_group"], "topk_group": keys["topk_group"]}
        return keys | (groups if keys["n_group"] > 1 else dict.fromkeys(groups))
