"""The requirements that fields declare: values of other fields without which they have no effect."""

# no deferred annotations, as in config.blocks

from tinylm_cli.config.base import WITH_ATTENTION, WITH_SHARED_BLOCK, Requirement, is_false, is_set, is_true, one_of

ROPE = one_of("position.kind", "rope")
SCALED = Requirement("position.scaling", lambda value: value != "none", "position.scaling is set", "linear")
YARN = one_of("position.scaling", "yarn")
LLAMA3 = one_of("position.scaling", "llama3")
LONGROPE = one_of("position.scaling", "longrope")
ATTENTION = one_of("block.mixer", *WITH_ATTENTION)
ONLY_ATTENTION = one_of("block.mixer", "attention")
SHARED_BLOCK = one_of("block.mixer", *WITH_SHARED_BLOCK)
MULTI_HEAD = one_of("attention.kind", "multi_head")
QK_NORM = Requirement("attention.qk_norm", lambda value: value != "none", "attention.qk_norm is not none", "per_head")
NORM_PER_HEAD = one_of("attention.qk_norm", "per_head")
TEMPERATURE = is_set("attention.temperature_scale", "0.1")
NOT_DIFFERENTIAL = is_false("attention.differential")
VALUE_PROJECTION = is_false("attention.keys_as_values")
LATENT = one_of("attention.kind", "latent")
COMPRESSED = is_set("attention.q_rank", "1536")
INDEXED = is_set("attention.index_top_k", "2048")
WINDOW = is_set("attention.window", "1024")
NOT_CHUNKED = is_false("attention.chunked")
OWN_KV = Requirement("attention.kv_from", lambda value: value is None, "attention.kv_from is not set", "null")
WITHOUT_ALIBI = Requirement("position.kind", lambda value: value != "alibi", "position.kind is not alibi", "rope")
FEED_FORWARD = is_true("block.feed_forward")
NOT_GATED = is_false("feed_forward.gated")
SEQUENTIAL = is_false("block.parallel")
PRE_NORM = one_of("norm.placement", "pre")
SANDWICH = one_of("norm.placement", "sandwich")
NORM_BEFORE = one_of("norm.placement", "pre", "sandwich")
MIXES = Requirement("block.mixer", lambda value: value != "none", "block.mixer is not none", "attention")
EXPERTS = is_set("feed_forward.n_experts", "8")
DENSE = Requirement("feed_forward.n_experts", lambda value: value is None, "feed_forward.n_experts is not set", "null")
SHARED_EXPERTS = Requirement(
    "feed_forward.n_shared_experts", lambda value: value != 0, "feed_forward.n_shared_experts is above 0", "1"
)
LM = one_of("head.kind", "lm")
CLASSIFIES = one_of("head.kind", "sequence_classification", "token_classification")
HEAD = one_of("head.kind", "lm", "sequence_classification", "token_classification")
WITHOUT_MTP = Requirement("head.n_mtp_layers", lambda value: value == 0, "head.n_mtp_layers is 0", "0")
WITHOUT_CLAMP = Requirement("feed_forward.clamp", lambda value: value is None, "feed_forward.clamp is not set", "null")
PER_LAYER = is_set("embedding.d_per_layer", "256")
WITHOUT_PER_LAYER = Requirement(
    "embedding.d_per_layer", lambda value: value is None, "embedding.d_per_layer is not set", "null"
)
HYPER = is_set("block.hyper_streams", "4")
ONE_STREAM = Requirement("block.hyper_streams", lambda value: value is None, "block.hyper_streams is not set", "null")
ONE_GROUP = Requirement("feed_forward.n_groups", lambda value: value == 1, "feed_forward.n_groups is 1", "1")
WITHOUT_ALTUP = Requirement(
    "block.altup_streams", lambda value: value is None, "block.altup_streams is not set", "null"
)
LOOPED = is_set("loop.n_loops", "2")
WITHOUT_LOW = Requirement("loop.n_low_layers", lambda value: value is None, "loop.n_low_layers is not set", "null")
GROUPS = Requirement("feed_forward.n_groups", lambda value: value != 1, "feed_forward.n_groups is above 1", "8")
