"""GLM-4.7-Flash and A.X K1: DeepSeek V3's attention and experts, with a list of the layers that have experts."""

from typing import Annotated, Any

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.expert_layers import MlpLayerTypeKeys, expert_kind, put_expert_groups
from tinylm_cli.interop.families.deepseek import DeepseekV3Keys, InterleavedKeys
from tinylm_cli.interop.translation import Translation


class Glm4MoeLiteKeys(MlpLayerTypeKeys, InterleavedKeys):
    """``Glm4MoeLiteConfig``: by default, the first layer has no experts."""

    constants = DeepseekV3Keys.constants
    aliases = {"num_local_experts": "n_routed_experts"}

    vocab_size: key.VocabSize = 154880
    hidden_size: key.DModel = 2048
    intermediate_size: key.DFF = 10240
    num_hidden_layers: key.NLayers = 47
    num_attention_heads: key.NHeads = 20
    num_key_value_heads: key.OptionalSize = 20
    max_position_embeddings: key.MaxLen = 202752
    rms_norm_eps: key.NormEps = 1e-5
    q_lora_rank: Annotated[int | None, *key.fills("attention.q_rank")] = 768
    qk_nope_head_dim: Annotated[int, *key.fills("attention.d_nope")] = 192
    v_head_dim: Annotated[int, *key.fills("attention.d_value")] = 256
    n_routed_experts: key.NExperts = 64
    n_shared_experts: key.NSharedExperts = 1
    num_experts_per_tok: key.TopK = 4
    moe_intermediate_size: key.DExpert = 1536
    routed_scaling_factor: key.RoutedScale = 1.8
    n_group: Annotated[int, *key.fills("feed_forward.n_groups")] = 1
    topk_group: key.OptionalSize = 1
    norm_topk_prob: key.Renormalize = True
    topk_method: str = key.only("noaux_tc", why="this family's code does not support it")
    first_k_dense_replace: int | None = key.only(1, why="this family's code reads mlp_layer_types")

    def to_tinylm(self, to: Translation) -> None:
        """Map attention, the groups that the router selects first, and the layers that have experts."""
        super().to_tinylm(to)
        put_expert_groups(to, self.n_group, self.topk_group)
        n_dense = 1 if self.first_k_dense_replace is None else self.first_k_dense_replace
        self.put_sparse_layers(to, self.n_routed_experts, "n_routed_experts", n_dense, "first_k_dense_replace")

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        experts = expert_kind(config).feed_forward
        return super().from_tinylm(config) | {"n_routed_experts": experts.n_experts, "topk_group": experts.top_k_groups}


class AXK1Keys(Glm4MoeLiteKeys):
    """``AXK1Config``: a norm follows the experts, but not a dense network."""

    constants = {**DeepseekV3Keys.constants, "feed_forward.out_norm": True}
    tensor_names = DeepseekV3Keys.tensor_names.override(layer={"post_ln_2": "post_mlp_layernorm"})

    vocab_size: key.VocabSize = 163840
    hidden_size: key.DModel = 7168
    intermediate_size: key.DFF = 18432
    num_hidden_layers: key.NLayers = 61
    num_attention_heads: key.NHeads = 64
    num_key_value_heads: key.OptionalSize = 64
    max_position_embeddings: key.MaxLen = 32768
    rms_norm_eps: key.NormEps = 1e-6
    q_lora_rank: Annotated[int, *key.fills("attention.q_rank")] = 1536
    qk_nope_head_dim: Annotated[int, *key.fills("attention.d_nope")] = 128
    v_head_dim: Annotated[int, *key.fills("attention.d_value")] = 128
    n_routed_experts: key.NExperts = 192
    num_experts_per_tok: key.TopK = 8
    moe_intermediate_size: key.DExpert = 2048
    routed_scaling_factor: key.RoutedScale = 2.5
    n_group: Annotated[int, *key.fills("feed_forward.n_groups")] = 8
    topk_group: key.OptionalSize = 4
    first_k_dense_replace: key.OptionalCount = 1
    moe_layer_freq: int = key.only(1, why="tinylm reads the layers with experts from mlp_layer_types")
