"""Causal self-attention: ``block.mixer: attention``."""

# no deferred annotations, as in config.blocks

from typing import Annotated, ClassVar, get_args

from pydantic import Field, WithJsonSchema

from tinylm_cli.config.base import (
    KIND_NAME,
    MAX_DIM,
    MAX_FACTOR,
    MAX_LEN,
    MAX_N_EXPERTS,
    MAX_N_HEADS,
    MAX_WINDOW_PATTERN,
    Block,
    Dim,
    Factor,
    HeadCount,
    Length,
    Requirement,
    is_false,
    is_true,
    optional,
)
from tinylm_cli.config.choices import (
    ABBREVIATED,
    AttentionKind,
    GateActivation,
    GateBias,
    Pairing,
    QkNorm,
    TemperatureGrowth,
)
from tinylm_cli.config.field_types import FieldType
from tinylm_cli.config.requirements import (
    ATTENTION,
    COMPRESSED,
    INDEXED,
    LATENT,
    MULTI_HEAD,
    NORM_PER_HEAD,
    NOT_CHUNKED,
    NOT_DIFFERENTIAL,
    ONLY_ATTENTION,
    OWN_KV,
    QK_NORM,
    ROPE,
    SHARED_BLOCK,
    TEMPERATURE,
    VALUE_PROJECTION,
    WINDOW,
    WITHOUT_ALIBI,
)

LATENT_D_VALUE = 128
"""Value dimensions per head of latent attention, as in DeepSeek-V2 and V3."""

KindOfLayers = Annotated[
    str, Field(pattern=f"^{KIND_NAME}$"), FieldType("text", "the name of a kind of layers, such as local")
]


class Attention(Block):
    """Causal self-attention."""

    requires: ClassVar[tuple[Requirement, ...]] = (ATTENTION,)

    kind: Annotated[AttentionKind, WithJsonSchema({"enum": [*get_args(AttentionKind), *ABBREVIATED]})] = Field(
        "multi_head",
        description="multi_head: MHA, GQA or MQA, by n_kv_heads; latent: multi-head latent attention (MLA), which"
        " caches one compressed vector per token. mha, gqa, mqa and mla are accepted too.",
    )
    n_kv_heads: Annotated[int | None, MULTI_HEAD] = optional(
        2,
        "KV heads, each shared by n_heads / n_kv_heads query heads; default: n_heads, or 1 for MQA.",
        ge=1,
        le=MAX_N_HEADS,
    )
    d_head: Annotated[int | None, MULTI_HEAD] = optional(
        64, "Dimensions per head; default: d_model / n_heads.", ge=1, le=MAX_DIM
    )
    d_value: Annotated[int | None, NOT_DIFFERENTIAL, VALUE_PROJECTION] = optional(
        128,
        f"Value dimensions per head; default: d_head, or {LATENT_D_VALUE} in latent attention.",
        ge=1,
        le=MAX_DIM,
    )
    bias: bool = Field(True, description="Whether the Q, K and V projections have biases.")
    out_bias: bool | None = optional(False, "Whether the output projection has a bias; default: the value of bias.")
    qk_norm: Annotated[QkNorm, MULTI_HEAD] = Field(
        "none", description="Normalize queries and keys. per_head: over d_head, weights shared; full: over all heads."
    )
    qk_norm_weight: Annotated[bool, MULTI_HEAD, QK_NORM, is_true("norm.weight")] = Field(
        True, description="Whether these norms learn weights, and biases if the other norms do; false in Llama 4."
    )
    qk_norm_after_rope: Annotated[bool, MULTI_HEAD, NORM_PER_HEAD, ROPE] = Field(
        False, description="Normalize queries and keys after RoPE rather than before it."
    )
    clip_qkv: Annotated[float | None, MULTI_HEAD] = optional(
        8.0, "Clamp queries, keys and values to this bound, before RoPE and per-head norms.", gt=0, le=MAX_FACTOR
    )
    gate: bool = Field(
        False, description="Multiply the attention output by a gate, computed from the input (Qwen3-Next)."
    )
    gate_activation: Annotated[GateActivation, is_true("attention.gate")] = Field(
        "sigmoid", description="Activation of the gate: sigmoid, or softplus, ln(1 + exp(x)) (Laguna)."
    )
    gate_per_head: Annotated[bool, is_true("attention.gate")] = Field(
        False, description="The gate has one factor for each head, not one for each of its dimensions (Ling 3, LFM3)."
    )
    gate_bias: Annotated[GateBias | None, MULTI_HEAD, is_true("attention.gate")] = optional(
        "per_head",
        "Biases of the gate, before its activation. full: one for each of its outputs; per_head: one for all dimensions"
        " of a head (Beam); none; default: full if bias is true, else none.",
    )
    v_norm: Annotated[bool, MULTI_HEAD] = Field(
        False, description="Normalize the values of each head, without weights (Gemma 4)."
    )
    keys_as_values: Annotated[bool, MULTI_HEAD] = Field(
        False,
        description="Values are the projected keys, before norms and RoPE; there is no value projection (Gemma 4).",
    )
    sub_norm: Annotated[bool, MULTI_HEAD] = Field(
        False, description="Normalize the input of the output projection, over all heads (sub-LN; BitNet)."
    )
    kv_from: Annotated[KindOfLayers | None, MULTI_HEAD, ONLY_ATTENTION] = optional(
        "local",
        "KV sharing across layers (Gemma 4): reuse the keys and values of the last earlier layer of this kind in"
        " layers.kinds; default: each layer projects and caches its own.",
    )
    adapter_rank: Annotated[int | None, SHARED_BLOCK] = optional(
        128,
        "Rank of the low-rank adapters that each layer adds to the Q, K and V projections of its shared block (Zamba2);"
        " default: none.",
        ge=1,
        le=MAX_DIM,
    )
    window: int | None = optional(
        1024, "Sliding window of local layers: positions that a token attends to, itself included.", ge=1, le=MAX_LEN
    )
    window_pattern: Annotated[str, WINDOW] = Field(
        "L",
        pattern=rf"^[LG]{{1,{MAX_WINDOW_PATTERN}}}$",
        examples=["LG"],
        description="Local (L) and global (G) layers, repeated over all layers: L: all local; LG: alternating.",
    )
    chunked: Annotated[bool, MULTI_HEAD, WINDOW] = Field(
        False,
        description="Local layers attend within consecutive chunks of window tokens instead of a sliding window"
        " (Llama 4).",
    )
    logit_softcap: float | None = optional(
        50.0, "Soft-cap on the attention scores: cap × tanh(score / cap).", gt=0, le=MAX_FACTOR
    )
    scale: float | None = optional(
        0.125, "Multiplier of the attention scores; default: 1/√d_head.", gt=0, le=MAX_FACTOR
    )
    temperature_scale: float | None = optional(
        0.1,
        "Temperature tuning by position (Llama 4): multiply the scores of the query at position t, from 0, by 1 +"
        " temperature_scale × ln(1 + floor((t + temperature_offset) / temperature_len)).",
        gt=0,
        le=MAX_FACTOR,
    )
    temperature_len: Annotated[Length, TEMPERATURE] = Field(
        8192, description="Temperature tuning: positions after which the multiplier of the scores grows."
    )
    temperature_offset: Annotated[int, TEMPERATURE] = Field(
        0, ge=0, le=1024, description="Temperature tuning: added to each position; 1 in Llama 4, 0 in Ministral 3."
    )
    temperature_growth: Annotated[TemperatureGrowth, TEMPERATURE] = Field(
        "log_steps",
        description="Temperature tuning: the formula of the multiplier. log_steps: as in temperature_scale; power: (1 +"
        " (t + temperature_offset) / temperature_len) to the power of temperature_scale (Beam).",
    )
    out_multiplier: Factor = Field(1.0, description="Multiplier of the attention output, after the output projection.")
    differential: Annotated[bool, MULTI_HEAD] = Field(
        False,
        description="Differential attention (DiffLlama): a pair of heads attends to the concatenated values of both"
        " with softmax_1 − λ × softmax_2, where λ is learned.",
    )
    n_experts: Annotated[int | None, MULTI_HEAD, NOT_DIFFERENTIAL] = optional(
        8,
        "Mixture of attention heads (JetMoE): experts with query and output projections for n_kv_heads heads each; a"
        " token selects n_heads / n_kv_heads of them; default: one projection of all heads.",
        ge=1,
        le=MAX_N_EXPERTS,
    )
    dynamic_mask_top_k: Annotated[
        int | None,
        MULTI_HEAD,
        ONLY_ATTENTION,
        NOT_DIFFERENTIAL,
        WITHOUT_ALIBI,
        OWN_KV,
        NOT_CHUNKED,
        is_false("attention.v_norm"),
    ] = optional(
        2048,
        "Dynamic mask (Doge): add a bias to the scores of each key, exp(scale × softplus(proj(v))), computed from its"
        " values in all heads, and attend to this many of the keys with the highest biases; default: no mask.",
        ge=1,
        le=MAX_LEN,
    )
    sinks: bool = Field(False, description="Attention sinks: a learned logit per head in the softmax, without a value.")
    kv_rank: Annotated[Dim, LATENT] = Field(
        512, description="latent: rank of the compressed keys and values cached per token."
    )
    q_rank: Annotated[int | None, LATENT] = optional(
        1536, "latent: rank of the compressed queries; default: not compressed.", ge=1, le=MAX_DIM
    )
    d_nope: Annotated[Dim, LATENT] = Field(128, description="latent: dimensions per head without RoPE.")
    d_rope: Annotated[Dim, LATENT] = Field(
        64,
        description="latent: dimensions per head with RoPE; all heads share one key. With position.kind none, they are"
        " not rotated.",
    )
    latent_norm_eps: Annotated[float | None, LATENT] = optional(
        1e-6,
        "latent: added to the variance in the norms of the compressed keys and values and queries, and of the key with"
        " RoPE; default: norm.eps.",
        gt=0,
        le=0.1,
    )
    scale_latents: Annotated[bool, LATENT] = Field(
        False,
        description="latent: multiply the normalized compressed keys and values by √(d_model / kv_rank), and queries by"
        " √(d_model / q_rank) (Dots 3 Note).",
    )
    k_rope_norm: Annotated[bool, LATENT] = Field(
        False, description="latent: normalize the d_rope dimensions of the shared key, before RoPE (Dots 3 Note)."
    )
    q_concat_raw: Annotated[bool, LATENT, COMPRESSED] = Field(
        False,
        description="latent: the queries, and the gate if there is one, are computed from the compressed query after"
        " and before its norm, concatenated (A.X K2).",
    )
    index_top_k: Annotated[int | None, LATENT, COMPRESSED] = optional(
        2048,
        "latent: positions that a token attends to, selected by an indexer (DeepSeek V3.2); default: all earlier ones.",
        ge=1,
        le=MAX_LEN,
    )
    index_shared: Annotated[bool, INDEXED, ONLY_ATTENTION] = Field(
        False,
        description="Attend to the positions that the last earlier layer with an indexer selected, instead of having an"
        " indexer (GLM-5 with indexer_types).",
    )
    index_n_heads: Annotated[HeadCount, INDEXED] = Field(64, description="Indexer: heads, which share one key.")
    index_d_head: Annotated[Dim, INDEXED] = Field(
        128, description="Indexer: query and key dimensions per head; RoPE rotates the first attention.d_rope of them."
    )
    index_rope_last: Annotated[bool, INDEXED, ROPE] = Field(
        False, description="Indexer: RoPE rotates the last attention.d_rope dimensions instead of the first (Hy4)."
    )
    index_norm_eps: Annotated[float, INDEXED] = Field(
        1e-6, gt=0, le=0.1, description="Indexer: added to the variance in the norm of the keys."
    )
    index_pairing: Annotated[Pairing, INDEXED, ROPE] = Field(
        "half", description="Indexer: which dimensions RoPE rotates as a pair, with the values of position.pairing."
    )

    @property
    def has_indexer(self) -> bool:
        """Whether the layer selects the positions that it attends to."""
        return self.index_top_k is not None and not self.index_shared

    @property
    def has_out_bias(self) -> bool:
        """Whether the output projection has a bias."""
        return self.bias if self.out_bias is None else self.out_bias

    @property
    def gate_bias_kind(self) -> GateBias:
        """Which biases the gate has; latent attention has none."""
        if self.kind == "latent" or not self.gate:
            return "none"
        return self.gate_bias or ("full" if self.bias else "none")
