"""DeepSeek V3.2 and GLM-5: DeepSeek V3 whose attention is sparse, because an indexer selects positions."""

from collections.abc import Collection, Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field

from tinylm_cli.config.layer_kinds import layer_pattern
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.expert_layers import MlpLayerTypeKeys, expert_kind, idle_expert_keys, put_expert_groups
from tinylm_cli.interop.families.deepseek import IGNORED, LATENT_NAMES, DeepseekV3Keys, LatentKeys
from tinylm_cli.interop.layer_order import kinds_of_types, put_layers
from tinylm_cli.interop.translation import Translation

_INDEXER = ("wq_b", "wk", "k_norm", "weights_proj")
_TYPES, _SCHEDULE = ("indexer_types", "index_topk_pattern"), ("index_topk_freq", "index_skip_topk_offset")
"""The keys that list the layers with an indexer, and those that define a period if there is no list."""

_LETTERS = {"F": "full", "S": "shared"}
INDEXED_ATTENTION = "indexed_attention"
INDEXED_NAMES = LATENT_NAMES.override(
    layer={f"attention.indexer.{name}": f"self_attn.indexer.{name}" for name in _INDEXER}
)


class IndexedKeys(MlpLayerTypeKeys, LatentKeys):
    """Keys of a family whose layers all have latent attention with an indexer, and experts or none."""

    constants: ClassVar[dict[str, Any]] = {**DeepseekV3Keys.constants, "attention.index_pairing": "half"}
    tensor_names = INDEXED_NAMES
    aliases: ClassVar[Mapping[str, str]] = {
        "num_local_experts": "n_routed_experts",
        "num_experts": "n_routed_experts",
    }
    ignored: ClassVar[Collection[str]] = (
        *IGNORED,
        "rope_interleave",
        "indexer_rope_interleave",
    )  # not read by this family's code

    q_lora_rank: Annotated[int, *key.fills("attention.q_rank")] = 1536
    num_key_value_heads: key.OptionalSize = None
    mlp_bias: bool = key.only(False, why="this family's code has no such biases")
    layer_types: Annotated[key.LayerTypes, Field(examples=[[INDEXED_ATTENTION]])] = None
    n_routed_experts: key.NExperts = 256
    n_shared_experts: key.NSharedExperts = 1
    num_experts_per_tok: key.TopK = 8
    moe_intermediate_size: key.DExpert = 2048
    routed_scaling_factor: key.RoutedScale = 2.5
    n_group: Annotated[int, *key.fills("feed_forward.n_groups")] = 8
    topk_group: key.OptionalSize = 4
    norm_topk_prob: key.Renormalize = True
    first_k_dense_replace: key.OptionalCount = 3
    moe_layer_freq: int = key.only(1, why="this family's code has only leading dense layers")
    scoring_func: str = key.only("sigmoid", why="this family's code weights experts with a sigmoid")
    topk_method: str = key.only("noaux_tc", why="this family's code does not support it")
    index_topk: Annotated[int, *key.fills("attention.index_top_k")] = 2048
    index_n_heads: Annotated[int, *key.fills("attention.index_n_heads")] = 64
    index_head_dim: Annotated[int, *key.fills("attention.index_d_head")] = 128

    def to_tinylm(self, to: Translation) -> None:
        """Map attention, the groups that the router selects first, and the layers that have experts."""
        super().to_tinylm(to)
        put_expert_groups(to, self.n_group or 1, self.topk_group)
        other = next((each for each in self.layer_types or () if each != INDEXED_ATTENTION), None)
        if other is not None:
            to.unsupported("layer_types", "this family's code has an indexer in each layer")
        self._put_layer_kinds(to)

    def _put_layer_kinds(self, to: Translation) -> None:
        """Set the layers that have experts, after all other per-layer fields."""
        n_dense = self.first_k_dense_replace or 0
        self.put_sparse_layers(to, self.n_routed_experts, "n_routed_experts", n_dense, "first_k_dense_replace")

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        """Return the keys; expert keys have the family's defaults if the model has no experts."""
        experts = expert_kind(config).feed_forward
        return super().from_tinylm(config) | {
            "n_routed_experts": experts.n_experts,
            "n_group": experts.n_groups,
            "topk_group": experts.top_k_groups,
            **idle_expert_keys(cls, config),
        }


class DeepseekV32Keys(IndexedKeys):
    """``DeepseekV32Config``."""

    vocab_size: key.VocabSize = 129280
    hidden_size: key.DModel = 7168
    intermediate_size: key.DFF = 18432
    num_hidden_layers: key.NLayers = 61
    num_attention_heads: key.NHeads = 128
    max_position_embeddings: key.MaxLen = 163840


class GlmMoeDsaKeys(IndexedKeys):
    """``GlmMoeDsaConfig``: the indexer rotates adjacent dimensions, and some layers may reuse a selection."""

    constants: ClassVar[dict[str, Any]] = {**IndexedKeys.constants, "attention.index_pairing": "adjacent"}

    vocab_size: key.VocabSize = 154880
    hidden_size: key.DModel = 6144
    intermediate_size: key.DFF = 12288
    num_hidden_layers: key.NLayers = 78
    num_attention_heads: key.NHeads = 64
    max_position_embeddings: key.MaxLen = 202752
    rms_norm_eps: key.NormEps = 1e-5
    q_lora_rank: Annotated[int, *key.fills("attention.q_rank")] = 2048
    qk_nope_head_dim: Annotated[int, *key.fills("attention.d_nope")] = 192
    v_head_dim: Annotated[int, *key.fills("attention.d_value")] = 256
    n_group: Annotated[int, *key.fills("feed_forward.n_groups")] = 1
    topk_group: key.OptionalSize = 1
    index_n_heads: Annotated[int, *key.fills("attention.index_n_heads")] = 32
    indexer_types: Annotated[key.LayerTypes, Field(examples=[["full", "shared"]])] = None
    index_topk_pattern: key.AnyValue = None
    index_topk_freq: key.OptionalCount = 1
    index_skip_topk_offset: key.OptionalCount = 2

    def _put_layer_kinds(self, to: Translation) -> None:
        """Set the layers that share the selection of an earlier one, and those that have experts."""
        if not to.has_error("num_hidden_layers", *_TYPES, *_SCHEDULE):
            self._put_indexers(to)
        super()._put_layer_kinds(to)

    def _put_indexers(self, to: Translation) -> None:
        listed = next((name for name in _TYPES if getattr(self, name) is not None), "")
        types = getattr(self, listed) if listed else self._scheduled()
        if listed:
            to.ignore(*_TYPES[_TYPES.index(listed) + 1 :], *_SCHEDULE)
        if isinstance(types, str):
            types = [_LETTERS.get(letter, letter) for letter in types]
        if not isinstance(types, list) or not all(isinstance(each, str) for each in types):
            to.unsupported(listed, "it must list the type of each layer", "the types are full and shared")
            return
        place = listed or "index_topk_freq"
        kinds = kinds_of_types(to, place, types, {"full": "indexed", "shared": "shared"}, self.num_hidden_layers)
        if kinds[:1] == ["shared"]:
            to.unsupported(place, "the first layer has no earlier selection to share")
        elif "shared" in kinds:
            put_layers(to, kinds, {"indexed": {}, "shared": {"attention.index_shared": True}}, place, *_SCHEDULE)

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        """Return the keys, with the type of each layer."""
        types = ["shared" if kind.attention.index_shared else "full" for kind in layer_pattern(config)]
        return super().from_tinylm(config) | {"indexer_types": types}

    def _scheduled(self) -> list[str]:
        """Return the type of each layer in the absence of a list."""
        freq, offset = max(self.index_topk_freq or 1, 1), self.index_skip_topk_offset or 0
        layers = range(self.num_hidden_layers)
        return ["shared" if max(layer - offset + 1, 0) % freq else "full" for layer in layers]
