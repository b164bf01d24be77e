"""What it takes to describe a family of models: what its keys say, what its tensors are called, what it writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.key_reader import Reader
from tinylm_cli.interop.tensor_names import Names


class Must(NamedTuple):
    """A key that says nothing new as long as its value is one of ``values``; null and absence always pass.

    Attributes:
        values: What it may be.
        why: What another value would mean, after "is not supported".
    """

    values: tuple[Any, ...]
    why: str


@dataclass(frozen=True)
class Family:
    """How the configs of one ``model_type`` become tinylm's.

    Attributes:
        model_type: What a config.json calls the family.
        architecture: The class that its language models have in ``architectures``.
        title: What people call it.
        always: tinylm fields that are the same in every model of the family.
        fields: From a key to one or several tinylm fields, and last the value that its absence stands for.
        names: What its tensors are called, or what tells that from a config.
        musts: Keys with one acceptable value.
        ignored: Keys of this family that do not change the model, beside those of ``HARMLESS``.
        defaults: What the absence of other keys stands for, for ``compute``.
        compute: What takes more than a table, in order; every key it reads counts as understood.
        aliases: Other spellings of keys.
        inside: The key whose object holds the language model, where it is a part of something larger.
        outside: Keys beside ``inside`` that do not change the language model.
        write: What its config.json says beyond ``fields``, in order; None where no model is exported as one of it.
    """

    model_type: str
    architecture: str
    title: str
    always: Mapping[str, Any]
    fields: Mapping[str, tuple[Any, ...]]
    names: Names | Callable[[ModelConfig], Names]
    musts: Mapping[str, Must] = field(default_factory=dict)
    ignored: frozenset[str] = frozenset()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    compute: tuple[Callable[[Reader], None], ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    inside: str = ""
    outside: frozenset[str] = frozenset()
    write: tuple[Callable[[ModelConfig], Mapping[str, Any]], ...] | None = None

    def names_for(self, config: ModelConfig) -> Names:
        """Return what the tensors of a model are called."""
        return self.names if isinstance(self.names, Names) else self.names(config)


USUAL = {
    "vocab_size": "vocab_size",
    "hidden_size": "d_model",
    "num_attention_heads": "n_heads",
    "num_hidden_layers": "n_layers",
    "intermediate_size": "d_ff",
    "max_position_embeddings": "max_len",
    "tie_word_embeddings": "tie_weights",
    "num_key_value_heads": "attention.n_kv_heads",
    "head_dim": "attention.d_head",
    "attention_bias": "attention.bias",
    "hidden_act": "feed_forward.activation",
    "hidden_activation": "feed_forward.activation",
    "mlp_bias": "feed_forward.bias",
    "moe_intermediate_size": "feed_forward.d_expert",
    "num_experts_per_tok": "feed_forward.top_k",
    "rms_norm_eps": "norm.eps",
    "layer_norm_eps": "norm.eps",
    "layer_norm_epsilon": "norm.eps",
    "norm_epsilon": "norm.eps",
    "hidden_dropout": "dropout",
    "resid_pdrop": "dropout",
    "residual_dropout": "dropout",
}
"""The tinylm field of each key that means the same in every family that has it."""


def usual(**defaults: Any) -> dict[str, tuple[Any, ...]]:
    """Return a table of usual keys, each with the family's default."""
    return {key: (USUAL[key], default) for key, default in defaults.items()}


LLAMA_LIKE: dict[str, Any] = {
    "dropout": 0.0,
    "embedding.multiplier": 1.0,
    "position.kind": "rope",
    "norm.kind": "rmsnorm",
    "attention.bias": False,
    "feed_forward.gated": True,
    "feed_forward.bias": False,
}
"""Token vectors as they are, RoPE in halves, RMSNorm before each part, gated feed-forward, no biases."""

_HARMLESS = """
model_type architectures auto_map transformers_version torch_dtype dtype use_cache initializer_range init_std
name_or_path tokenizer_class vocab_file quantization_config compression_config gradient_checkpointing
use_flash_attn use_flash_attention attn_implementation experts_implementation attn_implementation_autoset
bos_token_id eos_token_id pad_token_id unk_token_id sep_token_id mask_token_id decoder_start_token_id
id2label label2id num_labels problem_type classifier_dropout task_specific_params finetuning_task
is_decoder return_dict output_attentions output_hidden_states torchscript use_bfloat16 tf_legacy_loss
attention_dropout attention_dropout_prob attn_pdrop embd_pdrop embedding_dropout activation_dropout layerdrop
summary_type summary_use_proj summary_activation summary_proj_to_labels summary_first_dropout
max_length min_length do_sample early_stopping num_beams num_beam_groups diversity_penalty temperature top_k top_p
typical_p repetition_penalty length_penalty no_repeat_ngram_size encoder_no_repeat_ngram_size bad_words_ids
num_return_sequences output_scores return_dict_in_generate forced_bos_token_id forced_eos_token_id
remove_invalid_values exponential_decay_length_penalty suppress_tokens begin_suppress_tokens prefix
tie_encoder_decoder chunk_size_feed_forward cache_implementation pretraining_tp
output_router_logits router_aux_loss_coef unsloth_fixed unsloth_version
"""

HARMLESS = frozenset(_HARMLESS.split())
"""Keys that change no model: token ids, storage, training, generation, bookkeeping; auto_map is never followed."""

EVERYWHERE = {
    "is_encoder_decoder": Must((False,), "a decoder with an encoder is not a decoder-only model"),
    "add_cross_attention": Must((False,), "cross-attention reads an encoder, and there is none"),
    "tie_encoder_decoder": Must((False,), "there is no encoder"),
    "cross_attention_hidden_size": Must((), "there is no encoder"),
}
"""What no decoder-only model may say, in any family."""
