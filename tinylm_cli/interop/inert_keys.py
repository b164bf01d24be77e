"""Keys of a config.json without effect on the model: always, at their value, or because they restate another key.

A key that transformers 5.24 does not read for a family may still change the model of a publisher's own code. It does
not if its name belongs to another task (training, generation, the tokenizer), if its value turns a feature off, or if
it states what the model has anyway.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from tinylm_cli.config.fields import fields
from tinylm_cli.interop.shared_keys import ACTIVATIONS
from tinylm_cli.interop.translation import Translation

_INERT = {
    "identity, files and versions": """
        _name_or_path adapters architectures author auto_map auto_mapping base_model base_model_name
        base_model_name_or_path commit_hash custom_pipeline custom_pipelines description extra_config_files
        extra_files finetuning_task is_llama_config keys_to_ignore_at_inference license metadata model_name
        model_name_or_path model_revision model_type model_version name name_or_path onnx_config onnx_safe
        parent_model peft_config peft_type prompts revision source_model tags task_specific_params
        transformers.js_config transformers_version unsloth_fixed unsloth_version version
    """,
    "storage, kernels, and placement on devices": """
        attention_softmax_in_fp32 attn_implementation attn_implementation_autoset attn_implementation_internal
        autocast_dtype base_model_ep_plan base_model_fsdp_plan base_model_pp_plan base_model_tp_plan bf16
        bf16_full_eval bfloat16 chunk_size_feed_forward compression_config compute_dtype cpu_offload
        deterministic_flash_attn device device_map dtype ep_size expert_parallel experts_implementation
        flash_attention flash_attn float16 fp16 fp16_full_eval fp32 fp32_attention fp32_residual fp8
        fuse_attention_ffn fuse_attention_qkv fuse_cross_entropy fuse_matmul_bias fuse_norm fuse_qkv fuse_swiglu
        fused_bias_fc fused_dropout_add_ln fused_mlp fused_qkv gpu_memory_utilization is_decoder kv_cache_dtype
        kv_cache_quantization kv_cache_scheme low_cpu_mem_usage output_attentions output_hidden_states
        parallelism_config params_dtype pipeline_parallel pipeline_parallel_degree pipeline_parallel_size
        pp_size pretraining_tp quant_method quantization quantization_bit quantization_config quantize
        reference_compile residual_in_fp32 return_dict sequence_parallel softmax_in_fp32 tensor_parallel
        tensor_parallel_degree tensor_parallel_size tf32 torch_compile torch_dtype torchscript tp_size
        unpad_inputs use_bfloat16 use_cache use_cache_kernel use_cache_quantization use_cu_seqlens
        use_cuda_graph use_flash_attention use_flash_attention_2 use_flash_attn use_fp8 use_fused_crossentropy
        use_fused_mlp use_fused_rms_norm use_fused_rope use_fused_swiglu use_kernels use_mamba_kernels
        use_mem_efficient_attention use_memory_efficient_attention use_ragged_attention use_sdpa use_triton
        use_xformers virtual_pp_degree
    """,
    "the tokenizer and token ids": """
        add_bos_token add_eos_token add_prefix_space added_tokens additional_special_tokens assistant_token_id
        audio_token_id audio_token_index begin_of_image_token bos_token bos_token_id chat_template cls_token_id
        decoder_start_token_id eoa_token_id eod_id eod_token_id eos_token eos_token_id eot_token_id ignore_index
        ignore_token_id ignored_index im_end_id im_start_id image_end_token_id image_start_token_id
        image_token_id image_token_index mask_token_id model_max_length pad_id pad_token pad_token_id
        padding_idx padding_side reward_token_id sep_token_id space_token_id special_tokens tokenizer
        tokenizer_class tokenizer_file tokenizer_model tokenizer_model_max_length tokenizer_name
        tokenizer_name_or_path tokenizer_padding_side tokenizer_type truncation_side unk_token unk_token_id
        use_im_end use_im_start use_im_start_end user_token_id video_token_id video_token_index
        vision_end_token_id vision_start_token_id vision_token_id vocab_file vocab_pad_to
    """,
    "context length beside the key that the family reads": """
        context_length initial_context_length max_context_len max_context_length max_input_length
        max_length_per_sample max_model_len max_seq_len max_seq_length max_sequence_length max_source_length
        max_target_length max_trained_positions n_ctx n_positions original_context_length pretrain_seq_len
        pretraining_length seq_len seq_length sequence_length train_seq_len trained_length training_seq_len
    """,
    "training and its data": """
        accumulate_grad_batches activation_checkpointing activation_dropout adam_beta1 adam_beta2 adam_epsilon
        attention_dropout attention_dropout_prob attention_probs_dropout_prob attn_dropout attn_dropout_prob
        attn_pdrop aux_loss aux_loss_alpha aux_loss_coef aux_loss_weight batch_size beta1 beta2 calibration_data
        data_seed dataset dataset_name deepspeed do_eval do_predict do_train drop_path drop_path_rate
        drop_tokens dropout dropout_p dropout_prob dropout_rate emb_dropout emb_dropout_prob emb_pdrop
        embd_dropout embd_pdrop embed_dropout embedding_dropout embedding_initializer_range epochs eval_steps
        expert_capacity ffn_dropout ffn_dropout_prob final_dropout focal_loss freeze_layers
        freeze_mm_mlp_adapter fsdp fsdp_config global_batch_size grad_clip grad_norm_clip
        gradient_accumulation_steps gradient_checkpointing gradient_checkpointing_kwargs
        gradient_checkpointing_policy gradient_checkpointing_use_reentrant hidden_dropout hidden_dropout_prob
        init_config init_cutoff_factor init_device init_fn init_method init_method_std init_scale init_std
        initializer initializer_cutoff_factor initializer_factor initializer_range initializer_scale
        initializer_type label_names label_smoothing label_smoothing_factor layer_dropout layerdrop
        learning_rate lora_alpha lora_config lora_dropout lora_rank lora_target_modules loss_fn loss_function
        loss_type lr lr_scheduler_type max_grad_norm max_steps micro_batch_size min_lr mlp_dropout
        moe_aux_loss_coef moe_capacity_factor moe_dropless moe_dropout moe_grouped_gemm moe_router_dtype
        moe_token_dispatcher_type moe_token_drop_policy moe_z_loss_coef mtp_loss_scaling_factor mtp_loss_weight
        neftune_noise_alpha norm_initializer num_epochs num_train_epochs optim optim_args optimizer output_dir
        output_dropout output_router_logits per_device_eval_batch_size per_device_train_batch_size post_dropout
        prefix_dropout recompute recompute_granularity recompute_modules reduction report_to
        rescale_prenorm_residual resid_dropout resid_dropout_prob resid_pdrop residual_dropout router_aux_loss
        router_aux_loss_coef router_dtype router_jitter_noise router_z_loss_coef run_name sample_packing
        save_steps scheduler seed seq_aux sequence_len stochastic_depth summary_hidden_size token_dropping
        tokens_trained train_batch_size train_dtype trained_tokens training_args tune_mm_mlp_adapter
        unfreeze_mm_vision_tower use_liger_kernel use_reentrant verbose wandb_project warmup_ratio warmup_steps
        weight_decay z_loss z_loss_coef zloss_coef
    """,
    "generation": """
        assistant_confidence_threshold assistant_early_exit assistant_ensemble_weight assistant_lookbehind
        bad_words_ids begin_suppress_tokens cache_config cache_implementation calc_logits_for_entire_prompt
        chat_format compile_config constraints continuous_batching_config disable_compile diversity_penalty
        do_sample dola_layers dual_chunk_attention_config early_stopping encoder_no_repeat_ngram_size
        encoder_repetition_penalty epsilon_cutoff eta_cutoff exponential_decay_length_penalty force_words_ids
        forced_bos_token_id forced_eos_token_id frequency_penalty generation generation_config guidance_scale
        is_assistant length_penalty logits_to_keep low_memory max_batch_size max_cache_len max_length
        max_matching_ngram_size max_new_tokens max_time max_window_size min_length min_new_tokens min_p
        no_repeat_ngram_size num_assistant_tokens num_assistant_tokens_schedule num_beam_groups num_beams
        num_logits_to_keep num_return_sequences output_logits output_past output_scores output_token_ids
        pad_key_length pad_logits past_key_values penalty_alpha pre_allocate_kv_cache prefill_chunk_size prefix
        presence_penalty prompt_lookup_num_tokens remove_invalid_values renormalize_logits repetition_penalty
        return_dict_in_generate return_last_states sequence_bias speculation_type stop_strings stop_token_ids
        stop_words_ids suppress_tokens target_lookbehind temperature token_healing top_h top_k top_p typical_p
        use_mtp use_past watermarking_config
    """,
    "heads of other tasks": """
        classifier_activation classifier_bias classifier_dropout classifier_pooling cls_dropout
        embedding_pooling head_dropout id2label label2id loss matryoshka_dimensions multi_label num_choices
        num_labels pooler_dropout pooler_fc_size pooler_hidden_act pooler_num_attention_heads
        pooler_num_fc_layers pooler_size_per_head pooler_type pooling pooling_mode pooling_type problem_type
        regression reward_config sentence_transformers summary_activation summary_first_dropout
        summary_proj_to_labels summary_type summary_use_proj task task_type tasks tf_legacy_loss
        token_classification_bias
    """,
}
INERT = frozenset(name for names in _INERT.values() for name in names.split())
"""Keys without effect on any model, unless they are in the schema of its family; ``auto_map`` is never run."""

_TASK = re.compile(
    r"(^|_)(dropout|pdrop|jitter|loss|lr|optimizer|scheduler|checkpointing|recompute|tokenizer|dtype|flash_attn|wandb|seed"
    r"|flash_attention|fused|tokens?_ids?|token_index|pipelines?|init|initializer|grad|gradient|fp16|bf16|fp32|fusion"
    r"|steps|epochs?|microbatch)(_|$)"
    r"|^(bnb|ddp|deepspeed|eval|fsdp|fuse|generation|license|load_in|peft|quant|quantization|sample|training|unsloth|vllm)_"
)
"""Parts of the names of keys about training, storage, kernels or the tokenizer."""

_COUNTS = re.compile(r"(^|_)(n|num|per|size|rank|layers?|experts?|conv)(_|$)")
"""Parts of names that count or measure parts of a model, whatever else they contain."""

_PARTS = re.compile(r"(^|_)(bias(es)?|heads?|gates?|sinks?|embed(ding|dings)?|proj|projection|mlp|ffn|adapter)(_|$)")
"""Names of parts of a model: a key about training that names one of them ends with what it sets, as in mlp_dropout."""

_SETTING = re.compile(
    r"(dropout|pdrop|jitter|loss|lr|initializer|init|dtype|seed)(_(p|prob|rate|coef|weight|std|scale|range|value))?$"
)
"""Ends of names of keys about training."""

_NEUTRAL = re.compile(
    r"(^|_)(scal(e|ing|ar)|multiplier|factor|temperature|ratio|coeff?|freq|frequency|interval|step|stride|period)$"
)
"""Names of factors and of periods over the layers, which 1 leaves without effect."""

_ARCHITECTURE = re.compile(
    r"(^|_)(act|activation|arch|architecture|attn|attention|bias|block|blocks|cache|conv|embed|embeddings?|experts?|ffn|gate"
    r"|gating|head|kind|layers?|layout|mask|mixer|mlp|mode|moe|norm|normalization|pattern|pe|pos|position|residual|rope|rotary"
    r"|router|scaling|ssm|state|strategy|topk|type|types|variant)(_|$)"
)
"""Parts of the names of keys whose texts choose a part of a model; other texts are names, paths and descriptions."""

_OFF = ("", "none", "null", "off", "no", "false", "disabled", "default")


def is_inert(key: str, value: Any) -> bool:
    """Return whether a key outside the schema of a family has no effect on its model, by its name and its value.

    A value that turns a feature off counts only for a key that does not state what most models have, such as a bias.

    Args:
        key: Its last part.
        value: Its value as plain data.
    """
    if key in INERT or key.startswith("_"):
        return True
    if _TASK.search(key) and not _COUNTS.search(key) and (_SETTING.search(key) or not _PARTS.search(key)):
        return True
    if key in RESTATED:
        return isinstance(value, str) and is_off(value)
    if _NEUTRAL.search(key) and not isinstance(value, bool) and value == 1:
        return True
    return is_off(value) or (_is_text(value) and not _ARCHITECTURE.search(key))


def is_off(value: Any) -> bool:
    """Return whether a value turns a feature off: false, zero, nothing, an empty text, or one such as ``none``."""
    if isinstance(value, str):
        return value.casefold() in _OFF
    if isinstance(value, dict):
        return all(map(is_off, value.values()))
    if isinstance(value, list):
        return all(map(is_off, value))
    return value is None or value is False or value == 0


def _is_text(value: Any) -> bool:
    """Return whether a value is a text, or contains only texts."""
    if isinstance(value, dict | list):
        return all(map(_is_text, value.values() if isinstance(value, dict) else value))
    return isinstance(value, str)


_MULTI_HEAD = ("full", "gqa", "mha", "mqa", "multi_head", "multihead", "multihead_attention", "softmax", "standard")
"""Names of attention that compares every query with its keys, however many share them."""


class _Statement(NamedTuple):
    """What a key states about a model: a field has a value, up to its spelling."""

    field: str  # Dotted tinylm field.
    read: Callable[[Any], Any] = lambda value: value  # The value of the field that the key's value means.
    of_field: Callable[[Any], Any] = lambda value: value  # What the key states of the field.


def _activation(value: Any) -> Any:
    name = str(value).casefold()
    return ACTIVATIONS.get({"swiglu": "silu", "geglu": "gelu", "reglu": "relu"}.get(name, name), name)


def _position(value: Any) -> Any:
    name = str(value).casefold()
    return "rope" if name.startswith(("rope", "rotary")) else {"absolute": "learned", "nope": "none"}.get(name, name)


def _norm(value: Any) -> Any:
    name = re.sub(r"[^a-z]", "", str(value).casefold())
    return "layernorm" if name.startswith("layernorm") else "rmsnorm" if "rms" in name else name


def _attention(value: Any) -> Any:
    name = str(value).casefold()
    return {"mla": "latent", "multi_head_latent": "latent"}.get(name, "multi_head" if name in _MULTI_HEAD else name)


def _is(choice: str) -> Callable[[Any], Any]:
    return lambda value: value == choice


def _named(field: str, names: str, *, read: Any = None, of_field: Any = None) -> dict[str, _Statement]:
    """Return the same statement for each of ``names``; by default, that a field has the value of the key."""
    statement = _Statement(field)
    statement = statement if read is None else statement._replace(read=read)
    return dict.fromkeys(names.split(), statement if of_field is None else statement._replace(of_field=of_field))


_SIZES: Mapping[str, _Statement] = {
    **_named("n_layers", "n_layer n_layers num_layers num_hidden_layers num_decoder_layers num_blocks"),
    **_named("n_heads", "n_head n_heads num_heads num_attention_heads attention_heads num_q_heads"),
    **_named("d_model", "n_embd n_embed hidden_size d_model dim model_dim embed_dim emb_dim embedding_dim"),
    **_named("d_ff", "n_inner intermediate_size ffn_hidden_size ffn_dim d_ff inner_dim ffn_inner_dim mlp_dim"),
    **_named(
        "attention.n_kv_heads",
        "n_kv_heads num_kv_heads num_key_value_heads n_head_kv kv_n_heads num_query_groups multi_query_group_num",
    ),
    **_named("attention.d_head", "head_dim head_size kv_channels d_head attention_head_dim attention_head_size d_kv"),
    **_named("attention.d_head", "q_head_dim qk_head_dim"),
    **_named("vocab_size", "n_vocab vocab_size num_embeddings padded_vocab_size vocab_size_padded orig_vocab_size"),
    **_named(
        "vocab_size",
        "original_vocab_size org_vocab_size pad_vocab_size_multiple make_vocab_size_divisible_by unpadded_vocab_size",
    ),
    **_named("max_len", "max_position_embeddings max_positions"),
    **_named("norm.eps", "rms_norm_eps layer_norm_eps layer_norm_epsilon norm_eps norm_epsilon layernorm_epsilon"),
    **_named("norm.eps", "rms_norm_epsilon rmsnorm_eps layer_norm_rms_epsilon epsilon eps"),
    **_named("position.theta", "rope_theta rotary_emb_base rotary_base rope_base rope_base_freq"),
    **_named("position.rotary_fraction", "rotary_pct partial_rotary_factor rope_pct rope_percent rotary_percent"),
    **_named("feed_forward.n_experts", "num_experts n_routed_experts num_local_experts moe_num_experts n_experts"),
    **_named("feed_forward.top_k", "num_experts_per_tok num_experts_per_token num_selected_experts moe_top_k moe_topk"),
    **_named("feed_forward.d_expert", "moe_intermediate_size expert_intermediate_size moe_ffn_hidden_size"),
    **_named("feed_forward.n_shared_experts", "n_shared_experts num_shared_experts"),
    **_named("feed_forward.d_shared_expert", "shared_expert_intermediate_size shared_intermediate_size"),
    **_named("feed_forward.d_shared_expert", "moe_shared_expert_intermediate_size"),
    **_named("feed_forward.n_groups", "n_group n_groups num_expert_group moe_n_group"),
    **_named("feed_forward.top_k_groups", "topk_group topk_groups moe_topk_group"),
    **_named("attention.window", "sliding_window sliding_window_size window_size attention_window"),
}
"""Other names of a size or a number, as of families that descend from another library."""

_OF_EXPERTS = (
    *("feed_forward.n_experts", "feed_forward.top_k", "feed_forward.d_expert"),
    *("feed_forward.n_shared_experts", "feed_forward.d_shared_expert"),
    *("feed_forward.n_groups", "feed_forward.top_k_groups", "feed_forward.router", "feed_forward.score_correction"),
)
"""Fields of experts, of which a model without experts has none, or one that is its feed-forward network."""

_COUNTED_EXPERTS = ("feed_forward.n_experts", "feed_forward.n_shared_experts", "feed_forward.d_shared_expert")
"""Of these, the fields that state that there are experts."""

_FEATURES: Mapping[str, _Statement] = {
    **_named("attention.bias", "qkv_bias use_qkv_bias attention_qkv_bias add_qkv_bias attn_bias attention_bias"),
    **_named("attention.bias", "use_attention_bias use_attn_bias attn_qkv_bias attention_use_bias"),
    **_named("attention.out_bias", "o_bias out_bias attention_out_bias use_o_bias o_proj_bias attn_out_bias"),
    **_named("feed_forward.bias", "mlp_bias use_mlp_bias ffn_bias add_ffn_bias use_ffn_bias"),
    **_named("feed_forward.bias", "bias use_bias use_biases add_bias_linear linear_bias enable_bias"),
    **_named("feed_forward.bias", "no_bias", read=lambda value: not value),
    **_named(
        "attention.qk_norm",
        "use_qk_norm qk_norm qk_layernorm use_qk_layernorm qk_layer_norms qk_ln use_qk_norms enable_qk_norm",
        of_field=lambda value: value != "none",
    ),
    **_named(
        "tie_weights", "tie_word_embeddings tie_embeddings tie_embedding weight_tying tie_weights share_embedding"
    ),
    **_named("tie_weights", "share_input_output_embed use_embedding_sharing"),
    **_named(
        "feed_forward.activation", "hidden_act hidden_activation activation_function activation", read=_activation
    ),
    **_named("feed_forward.activation", "activation_type mlp_act act_fn act_type mlp_hidden_act", read=_activation),
    **_named("feed_forward.gated", "glu use_glu gated_mlp use_gated_mlp use_gated_activation use_swiglu swiglu"),
    **_named("norm.kind", "norm_type normalization normalization_type norm_kind layer_norm_type", read=_norm),
    **_named("norm.kind", "use_rms_norm use_rmsnorm rmsnorm rms_norm", of_field=_is("rmsnorm")),
    **_named("norm.kind", "use_layer_norm use_layernorm", of_field=_is("layernorm")),
    **_named("norm.placement", "do_layer_norm_before pre_norm prenorm use_pre_norm pre_layernorm", of_field=_is("pre")),
    **_named("norm.placement", "post_norm postnorm use_post_norm norm_after", of_field=_is("post")),
    **_named("block.parallel", "parallel_attn use_parallel_residual parallel_residual use_parallel_block"),
    **_named(
        "position.kind", "use_rope use_rotary rotary rotary_embedding use_rotary_embeddings rope", of_field=_is("rope")
    ),
    **_named("position.kind", "use_rotary_embedding rotary_embeddings use_rotary_pos_emb", of_field=_is("rope")),
    **_named("position.kind", "alibi use_alibi", of_field=_is("alibi")),
    **_named("position.kind", "learned_pos_emb use_learned_positions", of_field=_is("learned")),
    **_named("position.kind", "position_embedding_type position_encoding_type pos_emb_type pe_type", read=_position),
    **_named(
        "position.pairing",
        "rope_interleaved rope_interleave interleaved_rope rotary_interleaved",
        of_field=_is("adjacent"),
    ),
    **_named("attention.kind", "attn_type attention_type attention_kind", read=_attention),
    **_named("feed_forward.score_correction", "topk_method", read=lambda value: value == "noaux_tc"),
    **_named(
        "feed_forward.router",
        "scoring_func score_func score_function moe_router_activation_func moe_router_score_function",
        of_field=lambda value: "softmax" if value == "topk_softmax" else value,
    ),
    **_named("head.bias", "lm_head_bias output_bias head_bias use_lm_head_bias"),
}
"""Features that a model has or not, each of which an off value may deny."""

_CONSTANTS: Mapping[str, Any] = {
    **dict.fromkeys(("is_causal", "causal", "use_causal_mask", "causal_attention", "causal_mask"), True),
    **dict.fromkeys(("scale_attn_weights", "scale_attention", "scale_attn"), True),
    "layer_types": "full_attention",
}
"""Keys that state what every model has unless its family reads them; a list states it of each layer."""

_GROUPED = ("multi_query_attention", "multi_query", "use_gqa", "gqa", "grouped_query_attention")
"""Keys that state whether query heads share keys and values."""

RESTATED = frozenset((*_SIZES, *_FEATURES, *_CONSTANTS, *_GROUPED, "rotary_dim"))
"""Keys that state a field of the model under another name."""


def restates(key: str, value: Any, to: Translation) -> bool:
    """Return whether a key outside the schema of its family states what the model has anyway.

    Another name of a size, a number or the activation counts as that if the file has the family's own key, which
    transformers reads.

    Args:
        key: Its last part.
        value: Its value as plain data.
        to: The translation of the other keys.
    """
    if key in _GROUPED:
        return bool(value) == bool(_value_of("attention.n_kv_heads", to) != to.get("n_heads"))
    if key == "rotary_dim":
        d_head = _value_of("attention.d_head", to)
        return isinstance(d_head, int) and bool(value == d_head * _value_of("position.rotary_fraction", to))
    if key in _CONSTANTS:
        return all(bool(each == _CONSTANTS[key]) for each in (value if isinstance(value, list) else [value]))
    stated = _SIZES.get(key) or _FEATURES.get(key)
    if stated is None:
        return False
    field = stated.field
    if field in _OF_EXPERTS and not _value_of("feed_forward.n_experts", to):
        is_dense = is_off(value) or (field == "feed_forward.n_experts" and value == 1)
        return is_dense or field not in _COUNTED_EXPERTS
    max_len = to.get("max_len")
    if field == "attention.window" and isinstance(value, int) and isinstance(max_len, int) and value >= max_len:
        return True
    has_one_value = key in _SIZES or field == "feed_forward.activation"
    if has_one_value and (node := to.fields.get(field)) is not None and node.span != to.family_span:
        return True
    has = _value_of(field, to)
    if has is None:
        return is_off(value)
    return bool(stated.read(value) == stated.of_field(has))


def _value_of(field: str, to: Translation) -> Any:
    """Return the value of a tinylm field in the model, its default included."""
    value = to.get(field)
    if value is not None:
        return value
    match field:
        case "attention.n_kv_heads":
            return to.get("n_heads")
        case "attention.d_head" if to.get("attention.kind") == "latent":
            return (to.get("attention.d_nope") or 0) + (to.get("attention.d_rope") or 0)
        case "attention.d_head":
            d_model, n_heads = to.get("d_model"), to.get("n_heads")
            return d_model // n_heads if isinstance(d_model, int) and isinstance(n_heads, int) and n_heads > 0 else None
        case "feed_forward.d_expert":
            return to.get("d_ff")
        case "attention.out_bias":
            return _value_of("attention.bias", to)
    return fields()[field].default
