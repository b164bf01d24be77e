"""Architectures of llama.cpp: the metadata keys and tensor names of each, for reading and for writing GGUF files.

A metadata key is paired with the tinylm field of the same meaning, or with the key of config.json that states it. Names
are the constants of the package ``gguf``. What converters write is in ``conversion/``, what llama.cpp computes in
``src/models/`` of https://github.com/ggml-org/llama.cpp.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from gguf.constants import MODEL_ARCH, MODEL_ARCH_NAMES, MODEL_TENSOR, TENSOR_NAMES, Keys

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.tensor_names import EMBEDDING, QKV, Fused, Split, TensorNames

LAYER_PREFIX = "blk.{bid}."
"""Prefix of the tensors of a layer in the constants of ``gguf``."""

FIELDS: Mapping[str, str] = {
    Keys.LLM.EMBEDDING_LENGTH: "d_model",
    Keys.LLM.BLOCK_COUNT: "n_layers",
    Keys.LLM.FEED_FORWARD_LENGTH: "d_ff",
    Keys.LLM.CONTEXT_LENGTH: "max_len",
    Keys.Attention.HEAD_COUNT: "n_heads",
    Keys.Attention.HEAD_COUNT_KV: "attention.n_kv_heads",
    Keys.Attention.KEY_LENGTH: "attention.d_head",
    Keys.Attention.LAYERNORM_RMS_EPS: "norm.eps",
    Keys.Attention.LAYERNORM_EPS: "norm.eps",
    Keys.Attention.CLAMP_KQV: "attention.clip_qkv",
    Keys.LLM.ATTN_LOGIT_SOFTCAPPING: "attention.logit_softcap",
    Keys.LLM.FINAL_LOGIT_SOFTCAPPING: "head.logit_softcap",
    Keys.LLM.USE_PARALLEL_RESIDUAL: "block.parallel",
    Keys.LLM.EXPERT_USED_COUNT: "feed_forward.top_k",
    Keys.LLM.EXPERT_FEED_FORWARD_LENGTH: "feed_forward.d_expert",
    Keys.LLM.EXPERT_WEIGHTS_NORM: "feed_forward.renormalize",
    Keys.LLM.EXPERT_WEIGHTS_SCALE: "feed_forward.routed_scale",
    Keys.SSM.CONV_KERNEL: "mamba.kernel_size",
    Keys.SSM.STATE_SIZE: "mamba.d_state",
}
"""The tinylm field of a metadata key; ``{arch}`` is the name of the architecture."""

ROPE_SCALING: Mapping[str, str] = {
    Keys.Rope.SCALING_TYPE: "rope_type",
    Keys.Rope.SCALING_FACTOR: "factor",
    Keys.Rope.SCALING_ORIG_CTX_LEN: "original_max_position_embeddings",
    Keys.Rope.SCALING_YARN_BETA_FAST: "beta_fast",
    Keys.Rope.SCALING_YARN_BETA_SLOW: "beta_slow",
    Keys.Rope.SCALING_YARN_ATTN_FACTOR: "attention_factor",
}
"""The key inside ``rope_scaling`` of a config.json for each metadata key."""


class Architecture(NamedTuple):
    """How llama.cpp stores the models of one Hugging Face family."""

    arch: MODEL_ARCH
    model_type: str  # The Hugging Face family.
    tensors: TensorNames  # The stored tensors of most models, by the names of tinylm's modules; see ``tensors_of``.
    # The key of config.json for each metadata key that is in neither ``FIELDS`` nor ``ROPE_SCALING``, or that means
    # something else in this family.
    keys: Mapping[str, str] = {}
    # Keys of config.json that llama.cpp has in its code, if they are not the family's defaults.
    implied: Mapping[str, Any] = {}
    # Metadata keys, without which, or with 0, a file of the architecture is of another family.
    requires: tuple[str, ...] = ()
    # Whether the rows of q and k are stored for RoPE that pairs adjacent dimensions, where the family's own checkpoints
    # pair halves: row 2i of a stored head is row i of the family's, and row 2i + 1 is row i + d_head / 2.
    pairs_adjacent: bool = False

    @property
    def name(self) -> str:
        """The value of ``general.architecture``."""
        return MODEL_ARCH_NAMES[self.arch]

    def tensors_in(self, stored: Iterable[str]) -> TensorNames:
        """Return the stored tensors as a file spells them: it may have q, k and v apart or as one.

        Args:
            stored: The names of the tensors in the file.
        """
        roles = {name.split(".", 2)[-1] for name in stored}
        names = self.tensors
        is_fused = f"{QKV_AS_ONE.stored}.weight" in roles
        if is_fused or f"{tensor_name(MODEL_TENSOR.ATTN_Q)}.weight" in roles:
            others = tuple(each for each in names.fused if each != QKV_AS_ONE)
            names = names.override(fused=(*others, QKV_AS_ONE) if is_fused else others)
        if roles.intersection(_KV_APART.stored):
            names = names._replace(splits=(_KV_APART,))
        elif self.model_type in READ_ONLY:
            names = names.override(layer={_KV_B: tensor_name(MODEL_TENSOR.ATTN_KV_B)})
        has_two_norms = self.model_type == "falcon" and f"{tensor_name(MODEL_TENSOR.ATTN_NORM_2)}.weight" in roles
        return names.override(layer=_TWO_NORMS) if has_two_norms else names

    def tensors_of(self, config: ModelConfig) -> TensorNames:
        """Return the stored tensors of a model."""
        has_two_norms = config.block.parallel and not config.block.shared_norm
        return (
            self.tensors.override(layer=_TWO_NORMS) if has_two_norms and self.model_type == "falcon" else self.tensors
        )


def tensor_name(tensor: MODEL_TENSOR) -> str:
    """Return the stored name of a tensor without suffix; of a tensor of a layer, without the prefix of the layer."""
    return TENSOR_NAMES[tensor].removeprefix(LAYER_PREFIX)


def _modules(**tensors: MODEL_TENSOR) -> dict[str, str]:
    """Return stored names by module; ``__`` in a keyword is the dot of a module."""
    return {module.replace("__", "."): tensor_name(tensor) for module, tensor in tensors.items()}


def _experts(kind: str) -> tuple[Fused, ...]:
    """Return the weights or biases of experts, which are stacked over all experts."""
    stored = {"gate": MODEL_TENSOR.FFN_GATE_EXP, "up": MODEL_TENSOR.FFN_UP_EXP, "down": MODEL_TENSOR.FFN_DOWN_EXP}
    return tuple(
        Fused((f"feed_forward.experts.{part}_proj.{kind}",), f"{tensor_name(tensor)}.{kind}")
        for part, tensor in stored.items()
    )


def _mamba(mixer: str) -> tuple[Fused, ...]:
    """Return the tensors of a Mamba mixer that have no suffix."""
    stored = {"A_log": MODEL_TENSOR.SSM_A, "D": MODEL_TENSOR.SSM_D}
    return tuple(Fused((f"{mixer}.{part}",), tensor_name(tensor)) for part, tensor in stored.items())


def _without(names: TensorNames, mixer: str) -> TensorNames:
    """Return names without the modules and tensors of a mixer."""
    layer = {module: stored for module, stored in names.layer.items() if not module.startswith(mixer)}
    return names._replace(
        layer=layer, tensors=tuple(each for each in names.tensors if not each.names[0].startswith(mixer))
    )


TENSORS = TensorNames(
    top_level={
        EMBEDDING: tensor_name(MODEL_TENSOR.TOKEN_EMBD),
        "embedding.positional_encoding": tensor_name(MODEL_TENSOR.POS_EMBD),
        "embedding.norm": tensor_name(MODEL_TENSOR.TOKEN_EMBD_NORM),
        "ln_f": tensor_name(MODEL_TENSOR.OUTPUT_NORM),
        "lm_head": tensor_name(MODEL_TENSOR.OUTPUT),
    },
    prefix=LAYER_PREFIX.format(bid="{i}"),
    layer=_modules(
        ln_1=MODEL_TENSOR.ATTN_NORM,
        ln_2=MODEL_TENSOR.FFN_NORM,
        post_ln_1=MODEL_TENSOR.ATTN_POST_NORM,
        post_ln_2=MODEL_TENSOR.FFN_POST_NORM,
        attention__q_proj=MODEL_TENSOR.ATTN_Q,
        attention__k_proj=MODEL_TENSOR.ATTN_K,
        attention__v_proj=MODEL_TENSOR.ATTN_V,
        attention__o_proj=MODEL_TENSOR.ATTN_OUT,
        attention__q_norm=MODEL_TENSOR.ATTN_Q_NORM,
        attention__k_norm=MODEL_TENSOR.ATTN_K_NORM,
        feed_forward__gate_proj=MODEL_TENSOR.FFN_GATE,
        feed_forward__up_proj=MODEL_TENSOR.FFN_UP,
        feed_forward__down_proj=MODEL_TENSOR.FFN_DOWN,
        feed_forward__router=MODEL_TENSOR.FFN_GATE_INP,
        feed_forward__shared_experts__gate_proj=MODEL_TENSOR.FFN_GATE_SHEXP,
        feed_forward__shared_experts__up_proj=MODEL_TENSOR.FFN_UP_SHEXP,
        feed_forward__shared_experts__down_proj=MODEL_TENSOR.FFN_DOWN_SHEXP,
        feed_forward__shared_expert_gate=MODEL_TENSOR.FFN_GATE_INP_SHEXP,
        mamba__in_proj=MODEL_TENSOR.SSM_IN,
        mamba__conv=MODEL_TENSOR.SSM_CONV1D,
        mamba__x_proj=MODEL_TENSOR.SSM_X,
        mamba__dt_proj=MODEL_TENSOR.SSM_DT,
        mamba__out_proj=MODEL_TENSOR.SSM_OUT,
        mamba__dt_norm=MODEL_TENSOR.SSM_DT_NORM,
        mamba__b_norm=MODEL_TENSOR.SSM_B_NORM,
        mamba__c_norm=MODEL_TENSOR.SSM_C_NORM,
        mamba2__in_proj=MODEL_TENSOR.SSM_IN,
        mamba2__conv=MODEL_TENSOR.SSM_CONV1D,
        mamba2__norm=MODEL_TENSOR.SSM_NORM,
        mamba2__out_proj=MODEL_TENSOR.SSM_OUT,
        short_conv__in_proj=MODEL_TENSOR.SHORTCONV_INPROJ,
        short_conv__conv=MODEL_TENSOR.SHORTCONV_CONV,
        short_conv__out_proj=MODEL_TENSOR.SHORTCONV_OUTPROJ,
    ),
    tensors=(
        *_experts("weight"),
        *_experts("bias"),
        Fused(("feed_forward.router.score_correction",), f"{tensor_name(MODEL_TENSOR.FFN_EXP_PROBS_B)}.bias"),
        Fused(("attention.sinks",), f"{tensor_name(MODEL_TENSOR.ATTN_SINKS)}.weight"),
        *_mamba("mamba"),
        *_mamba("mamba2"),
        Fused(("mamba2.dt_bias",), f"{tensor_name(MODEL_TENSOR.SSM_DT)}.bias"),
    ),
)
"""The tensors of most architectures; a model has those of its own modules. Experts are stacked."""

MAMBA, MAMBA2 = _without(TENSORS, "mamba2."), _without(TENSORS, "mamba.")
"""The tensors of models with Mamba and with Mamba-2 layers, which have the same names."""

QKV_AS_ONE = Fused(QKV, tensor_name(MODEL_TENSOR.ATTN_QKV))
"""Queries, keys and values as one tensor, in this order, whatever the order in the family's own checkpoints."""

FUSED_QKV = TENSORS.override(fused=(QKV_AS_ONE,))
"""The tensors of architectures with fused projections."""

GATE_UP = Fused(("feed_forward.gate_proj", "feed_forward.up_proj"), tensor_name(MODEL_TENSOR.FFN_UP))
"""The gate and up projections as one tensor, in this order."""

_POST_ATTENTION_NORM = TENSORS.override(layer=_modules(ln_2=MODEL_TENSOR.ATTN_POST_NORM))
"""The norm before the feed-forward network has the name of one after attention, as in Llama's own checkpoints."""

_TWO_NORMS = _modules(ln_1=MODEL_TENSOR.ATTN_NORM_2, ln_2=MODEL_TENSOR.ATTN_NORM)
"""The norms of Falcon's parallel blocks that have two: the first is that of the feed-forward network."""

_COUNT = {Keys.LLM.EXPERT_COUNT: "num_experts"}
_LOCAL_COUNT = {Keys.LLM.EXPERT_COUNT: "num_local_experts"}
_SHARED_WIDTH = Keys.LLM.EXPERT_SHARED_FEED_FORWARD_LENGTH
_MULTIPLIERS = {
    Keys.LLM.LOGIT_SCALE: "logits_scaling",
    Keys.LLM.EMBEDDING_SCALE: "embedding_multiplier",
    Keys.LLM.RESIDUAL_SCALE: "residual_multiplier",
    Keys.Attention.SCALE: "attention_multiplier",
}
_WINDOW = {Keys.Attention.SLIDING_WINDOW: "sliding_window"}
_LOGIT_SCALE = {Keys.LLM.LOGIT_SCALE: "logit_scale"}

_ALL = (
    Architecture(
        MODEL_ARCH.LLAMA,
        "mixtral",
        TENSORS,
        _LOCAL_COUNT | _WINDOW,
        requires=(Keys.LLM.EXPERT_COUNT,),
        pairs_adjacent=True,
    ),
    Architecture(
        MODEL_ARCH.LLAMA, "mistral", TENSORS, _WINDOW, requires=(Keys.Attention.SLIDING_WINDOW,), pairs_adjacent=True
    ),
    Architecture(MODEL_ARCH.LLAMA, "llama", TENSORS, pairs_adjacent=True),
    Architecture(MODEL_ARCH.QWEN2, "qwen2", TENSORS),
    Architecture(
        MODEL_ARCH.QWEN2MOE,
        "qwen2_moe",
        TENSORS,
        _COUNT | {_SHARED_WIDTH: "shared_expert_intermediate_size"},
        {"norm_topk_prob": False},
    ),
    Architecture(MODEL_ARCH.QWEN3, "qwen3", TENSORS),
    Architecture(MODEL_ARCH.QWEN3MOE, "qwen3_moe", TENSORS, _COUNT, {"norm_topk_prob": True}),
    Architecture(MODEL_ARCH.GEMMA, "gemma", TENSORS),
    Architecture(MODEL_ARCH.GEMMA2, "gemma2", TENSORS, _WINDOW),
    Architecture(
        MODEL_ARCH.GEMMA3, "gemma3_text", TENSORS, _WINDOW | {Keys.Rope.FREQ_BASE_SWA: "rope_local_base_freq"}
    ),
    Architecture(MODEL_ARCH.PHI2, "phi", TENSORS),
    Architecture(MODEL_ARCH.PHI3, "phi3", FUSED_QKV.override(fused=(*FUSED_QKV.fused, GATE_UP)), _WINDOW),
    Architecture(MODEL_ARCH.GPT2, "gpt2", FUSED_QKV),
    Architecture(MODEL_ARCH.GPTNEOX, "gpt_neox", FUSED_QKV),
    Architecture(MODEL_ARCH.BLOOM, "bloom", FUSED_QKV),
    Architecture(MODEL_ARCH.MPT, "mpt", FUSED_QKV, {Keys.Attention.CLAMP_KQV: "attn_config.clip_qkv"}),
    Architecture(MODEL_ARCH.FALCON, "falcon", FUSED_QKV, {Keys.Attention.HEAD_COUNT_KV: "num_kv_heads"}),
    Architecture(MODEL_ARCH.STARCODER2, "starcoder2", TENSORS),
    Architecture(MODEL_ARCH.STABLELM, "stablelm", TENSORS),
    Architecture(MODEL_ARCH.OLMO, "olmo", TENSORS, pairs_adjacent=True),
    Architecture(
        MODEL_ARCH.OLMO2,
        "olmo3",
        TENSORS,
        _WINDOW | {Keys.Rope.FREQ_BASE_SWA: "rope_parameters.sliding_attention.rope_theta"},
        requires=(Keys.Attention.SLIDING_WINDOW,),
    ),
    Architecture(MODEL_ARCH.OLMO2, "olmo2", TENSORS),
    Architecture(MODEL_ARCH.OLMOE, "olmoe", TENSORS, _COUNT, {"norm_topk_prob": False}),
    Architecture(MODEL_ARCH.GRANITE, "granite", TENSORS, _MULTIPLIERS, pairs_adjacent=True),
    Architecture(
        MODEL_ARCH.GRANITE_MOE,
        "granitemoeshared",
        TENSORS,
        _MULTIPLIERS | _LOCAL_COUNT | {_SHARED_WIDTH: "shared_intermediate_size"},
        requires=(_SHARED_WIDTH,),
        pairs_adjacent=True,
    ),
    Architecture(MODEL_ARCH.GRANITE_MOE, "granitemoe", TENSORS, _MULTIPLIERS | _LOCAL_COUNT, pairs_adjacent=True),
    Architecture(MODEL_ARCH.COMMAND_R, "cohere", TENSORS, _LOGIT_SCALE),
    Architecture(MODEL_ARCH.COHERE2, "cohere2", TENSORS, _LOGIT_SCALE | _WINDOW),
    Architecture(MODEL_ARCH.SMOLLM3, "smollm3", TENSORS, pairs_adjacent=True),
    Architecture(MODEL_ARCH.ARCEE, "arcee", TENSORS, pairs_adjacent=True),
    Architecture(MODEL_ARCH.SEED_OSS, "seed_oss", _POST_ATTENTION_NORM),
    Architecture(
        MODEL_ARCH.GPT_OSS,
        "gpt_oss",
        _POST_ATTENTION_NORM,
        _LOCAL_COUNT | _WINDOW | {Keys.LLM.EXPERT_FEED_FORWARD_LENGTH: "intermediate_size"},
    ),
    Architecture(MODEL_ARCH.GLM4, "glm4", TENSORS.override(fused=(GATE_UP,))),
    Architecture(MODEL_ARCH.MAMBA, "falcon_mamba", MAMBA, requires=(Keys.SSM.DT_B_C_RMS,)),
    Architecture(MODEL_ARCH.MAMBA, "mamba", MAMBA),
    Architecture(
        MODEL_ARCH.MAMBA2,
        "mamba2",
        MAMBA2,
        {
            Keys.SSM.CONV_KERNEL: "conv_kernel",
            Keys.SSM.STATE_SIZE: "state_size",
            Keys.SSM.GROUP_COUNT: "n_groups",
            Keys.SSM.TIME_STEP_RANK: "num_heads",
        },
    ),
    Architecture(
        MODEL_ARCH.LFM2,
        "lfm2",
        TENSORS.override(top_level={"ln_f": tensor_name(MODEL_TENSOR.TOKEN_EMBD_NORM)}),
        {Keys.ShortConv.L_CACHE: "conv_L_cache"},
        {"block_auto_adjust_ff_dim": False},
    ),
    Architecture(MODEL_ARCH.STARCODER, "gpt_bigcode", FUSED_QKV),
    Architecture(MODEL_ARCH.ERNIE4_5, "ernie4_5", TENSORS),
    Architecture(MODEL_ARCH.EXAONE4, "exaone4", TENSORS, _WINDOW),
    Architecture(MODEL_ARCH.NEMOTRON, "nemotron", TENSORS),
    Architecture(
        MODEL_ARCH.GLM4_MOE,
        "glm4_moe",
        _POST_ATTENTION_NORM,
        {
            Keys.LLM.EXPERT_COUNT: "n_routed_experts",
            Keys.LLM.EXPERT_SHARED_COUNT: "n_shared_experts",
            Keys.LLM.EXPERT_GROUP_COUNT: "n_group",
            Keys.LLM.EXPERT_GROUP_USED_COUNT: "topk_group",
            Keys.LLM.LEADING_DENSE_BLOCK_COUNT: "first_k_dense_replace",
            Keys.LLM.NEXTN_PREDICT_LAYERS: "num_nextn_predict_layers",
        },
    ),
    Architecture(
        MODEL_ARCH.LFM2MOE,
        "lfm2_moe",
        TENSORS.override(top_level={"ln_f": tensor_name(MODEL_TENSOR.TOKEN_EMBD_NORM)}),
        _COUNT | {Keys.ShortConv.L_CACHE: "conv_L_cache", Keys.LLM.LEADING_DENSE_BLOCK_COUNT: "num_dense_layers"},
    ),
    Architecture(
        MODEL_ARCH.JAMBA,
        "jamba",
        MAMBA,
        _COUNT | {Keys.SSM.CONV_KERNEL: "mamba_d_conv", Keys.SSM.STATE_SIZE: "mamba_d_state"},
    ),
)

LATENT = TENSORS.override(
    layer=_modules(
        attention__q_a_proj=MODEL_TENSOR.ATTN_Q_A,
        attention__q_b_proj=MODEL_TENSOR.ATTN_Q_B,
        attention__kv_a_proj=MODEL_TENSOR.ATTN_KV_A_MQA,
        attention__q_a_norm=MODEL_TENSOR.ATTN_Q_A_NORM,
        attention__kv_a_norm=MODEL_TENSOR.ATTN_KV_A_NORM,
    )
)
"""The tensors of latent attention, except the projection of the latent vector to keys and values."""

_KV_B = "attention.kv_b_proj"
_KV_APART = Split(
    f"{_KV_B}.weight",
    (f"{tensor_name(MODEL_TENSOR.ATTN_K_B)}.weight", f"{tensor_name(MODEL_TENSOR.ATTN_V_B)}.weight"),
    lambda config: (config.n_heads * config.attention.d_nope, config.n_heads * config.d_value),
)
"""Keys and values as two tensors with a matrix for each head; those of keys are transposed."""

_LATENT_KEYS = {
    Keys.LLM.EXPERT_COUNT: "n_routed_experts",
    Keys.LLM.EXPERT_SHARED_COUNT: "n_shared_experts",
    Keys.LLM.EXPERT_GROUP_COUNT: "n_group",
    Keys.LLM.EXPERT_GROUP_USED_COUNT: "topk_group",
    Keys.LLM.LEADING_DENSE_BLOCK_COUNT: "first_k_dense_replace",
    Keys.LLM.NEXTN_PREDICT_LAYERS: "num_nextn_predict_layers",
    Keys.Attention.Q_LORA_RANK: "q_lora_rank",
    Keys.Attention.KV_LORA_RANK: "kv_lora_rank",
}

READ_ONLY: Mapping[str, Architecture] = {
    each.model_type: each
    for each in (
        Architecture(MODEL_ARCH.DEEPSEEK2, "deepseek_v2", LATENT, _LATENT_KEYS),
        Architecture(MODEL_ARCH.DEEPSEEK2, "deepseek_v3", LATENT, _LATENT_KEYS),
    )
}
"""The architecture of families that are read, but not written: of latent attention."""

ARCHITECTURES: Mapping[str, Architecture] = {each.model_type: each for each in _ALL}
"""The architecture that stores each Hugging Face family."""


def architectures_named(name: str) -> tuple[Architecture, ...]:
    """Return the families that a value of ``general.architecture`` may be, the most special first; () if unknown."""
    return tuple(each for each in (*_ALL, *READ_ONLY.values()) if each.name == name)
