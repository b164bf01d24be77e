"""The names that other libraries use for fields, blocks and choices, collected from published configs."""

from __future__ import annotations

_FIELDS = {
    "name": "model_name",
    "d_model": "d_embed dim emb_dim embed_dim hidden_dim hidden_size n_embd",
    "n_heads": "n_head nhead num_attention_heads num_heads",
    "n_layers": "depth n_layer num_hidden_layers num_layers",
    "d_ff": "dim_feedforward ffn_dim ffn_hidden_size intermediate_size n_inner",
    "max_len": (
        "block_size context_length context_size max_position_embeddings max_seq_len max_seq_length n_ctx n_positions"
        " seq_len seq_length"
    ),
    "dropout": "attention_dropout embd_pdrop resid_pdrop",
    "tie_weights": "tie_embeddings tie_word_embeddings weight_tying",
    "embedding.multiplier": "embedding_multiplier",
    "embedding.n_codebooks": "num_codebooks",
    "position.kind": "position_embedding_type positional_encoding",
    "position.theta": "rope_base rope_theta rotary_emb_base",
    "position.local_theta": "rope_local_base_freq",
    "position.rotary_fraction": "partial_rotary_factor rotary_dim rotary_pct",
    "position.scaling": "rope_scaling rope_type",
    "position.scaling_factor": "factor",
    "position.original_max_len": "original_max_position_embeddings",
    "position.short_factors": "short_factor",
    "position.long_factors": "long_factor",
    "norm.kind": "rms_norm",
    "norm.eps": "layer_norm_eps layer_norm_epsilon norm_eps rms_norm_eps",
    "norm.placement": "norm_first",
    "attention.n_kv_heads": ("multi_query n_kv_head n_query_groups num_key_value_heads num_kv_heads num_query_groups"),
    "attention.d_head": "head_dim",
    "attention.bias": "attention_bias attn_bias qkv_bias",
    "attention.out_bias": "o_bias",
    "attention.qk_norm": "use_qk_norm",
    "attention.kv_from": "num_kv_shared_layers",
    "attention.window": "attention_chunk_size sliding_window",
    "attention.window_pattern": "sliding_window_pattern",
    "attention.temperature_scale": "attn_scale llama_4_scaling_beta",
    "attention.temperature_len": "floor_scale",
    "attention.logit_softcap": "attn_logit_softcapping",
    "attention.scale": "attention_multiplier query_pre_attn_scalar",
    "attention.out_multiplier": "attention_out_multiplier",
    "attention.differential": "diff_attention differential_attention",
    "attention.dynamic_mask_top_k": "keep_window_size",
    "attention.sinks": "attention_sinks",
    "attention.kv_rank": "kv_lora_rank",
    "attention.q_rank": "q_lora_rank",
    "attention.d_nope": "qk_nope_head_dim",
    "attention.d_rope": "qk_rope_head_dim",
    "attention.d_value": "v_head_dim",
    "layers.pattern": "block_types layer_types layers_block_type",
    "short_conv.kernel_size": "conv_l_cache",
    "mamba.dt_rank": "mamba_dt_rank time_step_rank",
    "mamba.eps": "mixer_rms_eps",
    "mamba2.n_heads": "mamba_n_heads mamba_num_heads",
    "mamba2.d_head": "headdim mamba_d_head mamba_head_dim",
    "mamba2.d_state": "mamba_d_state ssm_state_size state_size",
    "mamba2.n_groups": "mamba_n_groups ngroups",
    "mamba2.kernel_size": "conv_kernel d_conv mamba_d_conv",
    "mamba2.bias": "mamba_proj_bias use_bias",
    "mamba2.conv_bias": "mamba_conv_bias use_conv_bias",
    "mamba2.multipliers": "ssm_multipliers",
    "mamba2.out_multiplier": "ssm_out_multiplier",
    "mamba2.chunk_len": "chunk_size mamba_chunk_size",
    "gated_deltanet.n_key_heads": "linear_num_key_heads",
    "gated_deltanet.n_value_heads": "linear_num_value_heads",
    "gated_deltanet.d_key": "linear_key_head_dim",
    "gated_deltanet.d_value": "linear_value_head_dim",
    "gated_deltanet.kernel_size": "linear_conv_kernel_dim",
    "gated_deltanet.negative_eigenvalues": "allow_neg_eigval linear_allow_neg_eigval",
    "kimi_delta_attention.n_heads": "linear_num_heads",
    "kimi_delta_attention.d_head": "linear_head_dim",
    "kimi_delta_attention.kernel_size": "linear_conv_kernel_dim short_conv_kernel_size",
    "mlstm.gate_softcap": "gate_soft_cap",
    "rg_lru.d_inner": "lru_width",
    "rg_lru.kernel_size": "conv1d_width",
    "rwkv.d_inner": "attention_hidden_size",
    "feed_forward.activation": "activation_fn activation_function hidden_act hidden_activation",
    "feed_forward.bias": "mlp_bias",
    "feed_forward.clamp": "swiglu_limit",
    "feed_forward.n_experts": "n_routed_experts num_experts num_local_experts",
    "feed_forward.top_k": (
        "experts_per_token moe_top_k moe_topk n_active_experts n_experts_per_tok num_active_experts num_experts_per_tok"
        " num_experts_per_token"
    ),
    "feed_forward.n_zero_experts": "zero_expert_num",
    "feed_forward.d_expert": "moe_intermediate_size",
    "feed_forward.d_latent": "moe_latent_size",
    "feed_forward.n_shared_experts": "num_shared_experts",
    "feed_forward.d_shared_expert": "shared_expert_intermediate_size moe_shared_expert_intermediate_size",
    "feed_forward.n_dense_layers": "first_k_dense_replace",
    "feed_forward.router": "scoring_func",
    "feed_forward.renormalize": "norm_topk_prob",
    "feed_forward.router_weight_on_input": "apply_router_weight_on_input moe_apply_probs_on_input",
    "feed_forward.router_jitter": "router_jitter_noise",
    "feed_forward.routed_scale": "routed_scaling_factor",
    "feed_forward.n_groups": "n_group",
    "feed_forward.top_k_groups": "topk_group",
    "block.parallel": "parallel_attn parallel_residual use_parallel_residual",
    "block.normed_residual": "apply_residual_connection_post_layernorm",
    "head.n_labels": "num_classes num_labels",
    "head.bias": "lm_head_bias",
    "head.n_mtp_layers": "mtp_num_hidden_layers mtp_num_layers num_mtp_layers num_mtp_modules num_nextn_predict_layers",
    "head.logit_softcap": "final_logit_softcapping",
    "kind": "type",
}
_BLOCKS = {
    "embedding": "embeddings",
    "position": "pos_emb positional_encoding rope rope_parameters",
    "norm": "layer_norm layernorm normalization rms_norm rmsnorm",
    "attention": "attn self_attention self_attn",
    "short_conv": "conv",
    "mamba": "mamba1 s6",
    "mamba2": "ssd ssm ssm_cfg",
    "gated_deltanet": "delta_net deltanet gated_delta_net gdn",
    "kimi_delta_attention": "kda",
    "lightning_attention": "lightning_attn linear_attention linear_attn",
    "mlstm": "matrix_memory xlstm",
    "rg_lru": "griffin lru rglru",
    "rwkv": "rwkv4 time_mixing wkv",
    "feed_forward": "ffn mlp moe",
    "head": "lm_head",
}
_CHOICES = {
    # real names of what is not a choice, although they resemble one
    "": """
        batchnorm elu geglu groupnorm hardswish instancenorm layernorm1p leaky_relu mrope prelu reglu
        relative swiglu swigluoai t5 xdrope xpos
    """,
    "bfloat16": "bf16",
    "dynamic": "ntk",
    "float16": "fp16",
    "float32": "fp32",
    "gelu": "gelu_python",
    "gelu_tanh": "gelu_fast gelu_new gelu_pytorch_tanh",
    "learned": "absolute",
    "longrope": "su",
    "none": "default",
    "pre": "pre_ln pre_norm prenorm",
    "rmsnorm": "rms",
    "rope": "rotary",
    "sandwich": "both",
    "relu2": "relu_squared squared_relu",
    "silu": "swish",
    "sinusoidal": "sincos",
}
FIELD_ALIASES, BLOCK_ALIASES, CHOICE_ALIASES = (
    {alias: name for name, aliases in table.items() for alias in aliases.split()}
    for table in (_FIELDS, _BLOCKS, _CHOICES)
)
"""The field, block or choice of each alias."""

INEXACT_ALIASES = frozenset(
    {
        *(
            "attention_chunk_size",
            "attn_scale",
            "attention_dropout",
            "embd_pdrop",
            "resid_pdrop",
            "factor",
            "hidden_dim",
            "layer_types",
            "multi_query",
            "num_kv_shared_layers",
        ),
        *("norm_first", "position_embedding_type", "positional_encoding", "query_pre_attn_scalar", "rms_norm"),
        *("rope_scaling", "rope_type", "rotary_dim", "scoring_func", "sliding_window_pattern", "swiglu_limit", "type"),
        *("use_qk_norm", "layer_norm", "layernorm", "moe", "rmsnorm", "rope", "rope_parameters"),
    }
)
"""Aliases whose values need conversion or whose meaning is ambiguous: suggested, never fixed automatically."""

INEXACT_CHOICES = frozenset({"absolute", "both", "default", "ntk"})
"""Aliases that may mean another choice: suggested, never fixed automatically."""

IGNORED_KEYS = frozenset(
    {
        *("architectures", "attn_implementation", "auto_map", "aux_loss_alpha", "bos_token_id", "compile", "device"),
        *("dtype", "eos_token_id", "initializer_range", "model_type", "output_router_logits", "pad_token_id"),
        *("pretraining_tp", "router_aux_loss_coef", "seq_aux", "torch_dtype", "transformers_version", "use_cache"),
    }
)
"""Keys of published configs that do not describe the architecture."""

RECIPROCAL_KEYS = {"logits_scaling": "head.logit_scale"}
"""Keys of published configs whose value is 1 / that of a tinylm field."""

COMPOUND_CHOICES = {
    ("feed_forward.activation", "swiglu"): {"activation": "silu", "gated": "true"},
    ("feed_forward.activation", "geglu"): {"activation": "gelu", "gated": "true"},
    ("feed_forward.activation", "reglu"): {"activation": "relu", "gated": "true"},
    ("feed_forward.activation", "glu"): {"activation": "silu", "gated": "true"},
    ("attention.kind", "grouped_query"): {"n_kv_heads": "2", "kind": "gqa"},
    ("attention.kind", "multi_query"): {"kind": "mqa"},
    ("attention.kind", "sliding_window"): {"window": "1024", "kind": "multi_head"},
    ("feed_forward.router", "noaux_tc"): {"router": "sigmoid", "score_correction": "true"},
}
"""Values that stand for several fields of a block."""
