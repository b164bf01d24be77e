"""Zyphra's Zamba and Zamba2: layers of Mamba or Mamba-2; some also use a shared transformer block."""

from typing import Annotated, Any

from tinylm_cli.config.layer_kinds import layer_pattern, shared_blocks
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.layer_order import kinds_of_types, put_layers
from tinylm_cli.interop.mamba2_keys import mamba2_names
from tinylm_cli.interop.mamba_keys import DtRank, put_dt_rank
from tinylm_cli.interop.rope_scaling import RopeKeys
from tinylm_cli.interop.tensor_names import EMBEDDING, PROJECTIONS, BlockNames, Fused, TensorLayout, TensorNames, mlp
from tinylm_cli.interop.translation import Translation

_MODULES, _TENSORS = mamba2_names("mamba")
_OUTSIDE = {EMBEDDING: "model.embed_tokens", "ln_f": "model.final_layernorm", "lm_head": "lm_head"}
_NORMS = {"ln_1": "input_layernorm", "ln_2": "pre_ff_layernorm"}
_TYPES = {"linear_attention": "mamba", "mamba": "mamba", "hybrid": "hybrid"}
"""The kind of each layer type, by current and former name."""

_MAMBA2_FIELDS = {
    "n_heads": "n_mamba_heads",
    "d_state": "mamba_d_state",
    "n_groups": "mamba_ngroups",
    "kernel_size": "mamba_d_conv",
    "min_dt": "time_step_min",
    "chunk_len": "chunk_size",
    "bias": "add_bias_linear",
}
"""Fields of ``mamba2`` and their keys."""

_MAMBA_FIELDS = {
    "n_heads": "n_mamba_heads",
    "d_state": "mamba_d_state",
    "kernel_size": "mamba_d_conv",
    "bias": "mamba_proj_bias",
    "conv_bias": "mamba_conv_bias",
}
"""Fields of ``mamba`` and their keys."""

_FIRST_TYPES = ("linear_attention", "linear_attention", "hybrid")
"""The types of the first layers of Zamba, without a list of types."""

_UNTIED = "transformers then gives each layer a block of its own too"
_FIXED_EPS = "the norm of the gated output of Mamba-2 has an epsilon of 1e-5 in this family's code"


def default_types(n_groups: int) -> list[str]:
    """Return the layer types of Zamba2 with 2.7B parameters: ``n_groups`` times five layers and a hybrid one, …."""
    groups = (["linear_attention"] * 5 + ["hybrid"]) * n_groups
    end = [*["linear_attention"] * 4, "hybrid", *["linear_attention"] * 3, "hybrid", *["linear_attention"] * 2]
    return ["linear_attention", *groups, *end]


class Zamba2Keys(RopeKeys):
    """``Zamba2Config``."""

    constants = key.LLAMA_LIKE
    tensor_names = TensorNames(
        top_level=_OUTSIDE,
        prefix="model.layers.{i}.",
        layer={"ln_1": "input_layernorm", **_MODULES},
        tensors=_TENSORS,
        block=BlockNames(
            prefix="shared_transformer.",
            modules={**_NORMS, **PROJECTIONS, "feed_forward.down_proj": "feed_forward.down_proj"},
            fused=(Fused(("feed_forward.gate_proj", "feed_forward.up_proj"), "feed_forward.gate_up_proj"),),
            own_prefix="mamba_decoder.",
            adapters={
                **{f"{part}_proj": f"self_attn.linear_{part}_adapter_list" for part in "qkv"},
                "feed_forward": "feed_forward.gate_up_proj_adapter_list",
            },
        ),
    )
    # transformers computes them from other keys, or reads them only for the initialization or to choose kernels
    ignored = (
        *("attention_head_dim", "attention_hidden_size", "hybrid_layer_ids", "kv_channels", "mamba_headdim"),
        *("num_logits_to_keep", "num_query_groups", "time_step_floor", "time_step_max", "use_conv_bias"),
        *("use_mamba_kernels", "use_mem_eff_path"),
    )
    aliases = {"layer_types": "layers_block_type"}

    vocab_size: key.VocabSize = 32000
    hidden_size: key.DModel = 2560
    intermediate_size: key.OptionalDFF = None
    num_hidden_layers: key.NLayers = 54
    num_attention_heads: key.NHeads = 32
    num_key_value_heads: key.NKVHeads = None
    hidden_act: key.Activation = "gelu"
    rms_norm_eps: float = key.only(1e-5, why=_FIXED_EPS)
    max_position_embeddings: key.MaxLen = 4096
    tie_word_embeddings: bool = key.only(True, why=_UNTIED)
    layers_block_type: key.LayerTypes = None
    mamba_d_state: Annotated[int, *key.like("mamba2.d_state")] = 64
    mamba_d_conv: Annotated[int, *key.like("mamba2.kernel_size")] = 4
    mamba_expand: key.Size = 2
    mamba_ngroups: Annotated[int, *key.like("mamba2.n_groups")] = 1
    n_mamba_heads: Annotated[int, *key.like("mamba2.n_heads")] = 8
    time_step_min: Annotated[float, *key.like("mamba2.min_dt")] = 0.001
    chunk_size: Annotated[int, *key.like("mamba2.chunk_len")] = 256
    add_bias_linear: key.FeedForwardBias = False
    num_mem_blocks: key.Size = 1
    use_shared_attention_adapter: bool = False
    adapter_rank: Annotated[int, *key.like("feed_forward.adapter_rank")] = 128
    use_mem_rope: bool = False
    use_long_context: bool = False

    def to_tinylm(self, to: Translation) -> None:
        """Map the heads, which span twice the width of the model, and the shared blocks, used in turn."""
        super().to_tinylm(to)
        if self.intermediate_size is None and not to.has_error("hidden_size"):
            to.put("d_ff", 4 * self.hidden_size, "hidden_size")
        if self.use_long_context:
            to.put("max_len", 16_384, "use_long_context")
        if not self.use_mem_rope:
            to.put("position.kind", "none", "use_mem_rope")
        if to.has_error(*type(self).model_fields):
            return
        d_head = max(2 * self.hidden_size // self.num_attention_heads, 1)
        to.put("attention.d_head", d_head, "hidden_size", "num_attention_heads")
        to.put("attention.scale", (d_head / 2) ** -0.5, "hidden_size", "num_attention_heads")
        if not self._heads_fit(to):
            return
        types = default_types(7) if self.layers_block_type is None else self.layers_block_type
        kinds = kinds_of_types(to, "layers_block_type", types, _TYPES, self.num_hidden_layers)
        if kinds:
            self._put_mixers(to)
            named = _with_blocks(kinds, "mamba2", self.num_mem_blocks)
            put_layers(to, *named, "layers_block_type", "num_mem_blocks")

    def _heads_fit(self, to: Translation) -> bool:
        """Return whether heads divide the dimensions that they span; report those that do not."""
        both, inner = 2 * self.hidden_size, self.mamba_expand * self.hidden_size
        for name, spanned, text, *others in (
            ("num_attention_heads", both, "twice hidden_size", "hidden_size"),
            ("n_mamba_heads", inner, "mamba_expand × hidden_size", "mamba_expand", "hidden_size"),
        ):
            if spanned % (heads := getattr(self, name)):
                message = f"{name} {heads} does not divide {text}, {spanned}"
                to.contradiction(name, message, "write a divisor of it", *others)
                return False
        if self.use_shared_attention_adapter and self.num_key_value_heads not in (None, self.num_attention_heads):
            why = "the adapters of keys and values in this family's code have the dimensions of the queries"
            to.unsupported("use_shared_attention_adapter", why, "write it as false, or as many KV heads as heads")
            return False
        return True

    def _put_mixers(self, to: Translation) -> None:
        """Set the ranks of the adapters, and the fields of Mamba-2."""
        to.put("feed_forward.adapter_rank", self.adapter_rank, "adapter_rank")
        if self.use_shared_attention_adapter:
            to.put("attention.adapter_rank", self.adapter_rank, "use_shared_attention_adapter", "adapter_rank")
        inner = self.mamba_expand * self.hidden_size
        to.put("mamba2.d_head", inner // self.n_mamba_heads, "mamba_expand", "hidden_size", "n_mamba_heads")
        for field, name in _MAMBA2_FIELDS.items():
            to.put(f"mamba2.{field}", getattr(self, name), name)

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        """Return the keys, with the layer types, and with the sizes of attention in a shared block."""
        blocks = list(shared_blocks(config).values())
        inner = config.mamba2_heads * config.mamba2.d_head
        block = blocks[0] if blocks else config
        settings = config.mamba2
        mamba = {name: getattr(settings, field) for field, name in _MAMBA2_FIELDS.items()}
        return super().from_tinylm(config) | {
            **mamba,
            "intermediate_size": block.d_ff,
            "adapter_rank": block.feed_forward.adapter_rank or 1,
            "layers_block_type": _types(config),
            "mamba_expand": max(inner // config.d_model, 1),
            "n_mamba_heads": config.mamba2_heads,
            "num_mem_blocks": max(len(blocks), 1),
            "use_shared_attention_adapter": block.attention.adapter_rank is not None,
            "use_mem_rope": block.position.kind == "rope",
        }


def _with_blocks(kinds: list[str], mixer: str, n_blocks: int) -> tuple[list[str], dict[str, dict[str, Any]]]:
    """Return the kind of each layer, in which hybrid layers use the shared blocks in turn, and the fields of kinds."""
    plain = {"block.mixer": mixer, "block.feed_forward": False}
    hybrid: dict[str, Any] = {"block.mixer": f"shared_block_{mixer}"}
    if n_blocks == 1:
        return kinds, {"mamba": plain, "hybrid": hybrid}
    n_used = min(n_blocks, kinds.count("hybrid"))
    named = {f"hybrid-{n}": {**hybrid, "block.shared_block": f"block-{n}"} for n in range(n_used)}
    uses = (name for _ in kinds for name in named)
    return [next(uses) if kind == "hybrid" else kind for kind in kinds], {"mamba": plain, **named}


def _types(config: ModelConfig) -> list[str]:
    """Return the type of each layer."""
    return ["hybrid" if kind.block.has_shared_block else "linear_attention" for kind in layer_pattern(config)]


class ZambaKeys(key.LlamaLikeKeys):
    """``ZambaConfig``: no positions, and one shared block."""

    constants = {**key.LLAMA_LIKE, "position.kind": "none"}
    tensor_names = TensorNames(
        top_level=_OUTSIDE,
        prefix="model.layers.{i}.",
        layer={"ln_1": "input_layernorm", "mamba.conv": "mamba.conv1d", "mamba.out_proj": "mamba.out_proj"},
        fused=(Fused(("mamba.in_proj",), "mamba.in_proj", TensorLayout.halves_in_turn),),
        tensors=tuple(
            Fused((f"mamba.{name}",), f"mamba.{name.replace('.', '_')}", TensorLayout.by_mamba_head)
            for name in ("x_proj.weight", "dt_proj.weight", "dt_proj.bias", "A_log", "D")
        ),
        block=BlockNames(
            prefix="shared_transf.",
            modules={**_NORMS, **PROJECTIONS, **mlp("feed_forward", "feed_forward")},
            own_prefix="mamba_decoder.",
        ),
    )
    # transformers reads them only for the initialization or to choose kernels
    ignored = (
        *("num_logits_to_keep", "time_step_floor", "time_step_max", "time_step_min"),
        *("use_associative_scan", "use_mamba_kernels"),
    )
    aliases = {"layer_types": "layers_block_type", "head_dim": "attention_head_dim"}

    hidden_size: key.DModel = 3712
    intermediate_size: key.DFF = 14848
    num_hidden_layers: key.NLayers = 76
    num_attention_heads: key.NHeads = 16
    num_key_value_heads: key.NKVHeads = 16
    hidden_act: key.Activation = "gelu"
    rms_norm_eps: key.NormEps = 1e-5
    max_position_embeddings: key.MaxLen = 4096
    tie_word_embeddings: bool = key.only(True, why=_UNTIED)
    attention_hidden_size: key.OptionalSize = None
    attention_head_dim: key.OptionalSize = None
    layers_block_type: key.LayerTypes = None
    attn_layer_period: key.Size = 6
    attn_layer_offset: key.Count = 4
    hidden_mamba_act: str = key.only("silu", "swish", why="tinylm activates the convolution with SiLU")
    n_mamba_heads: Annotated[int, *key.like("mamba.n_heads")] = 2
    mamba_d_state: Annotated[int, *key.like("mamba.d_state")] = 16
    mamba_d_conv: Annotated[int, *key.like("mamba.kernel_size")] = 4
    mamba_expand: key.Size = 2
    mamba_dt_rank: DtRank = "auto"
    mamba_conv_bias: bool = True
    mamba_proj_bias: bool = False

    def to_tinylm(self, to: Translation) -> None:
        """Map the heads of attention, which read two vectors, the Mamba mixers, and the layers with the block."""
        super().to_tinylm(to)
        if to.has_error(*type(self).model_fields):
            return
        both = 2 * self.hidden_size
        if self.attention_hidden_size not in (None, both):
            message = f"attention_hidden_size {self.attention_hidden_size} is not twice hidden_size, {both}"
            to.contradiction("attention_hidden_size", message, f"write {both}, or omit it", "hidden_size")
            return
        d_head = self.attention_head_dim or max(both // self.num_attention_heads, 1)
        to.put("attention.d_head", d_head, "attention_head_dim", "hidden_size", "num_attention_heads")
        to.put("attention.scale", (d_head / 2) ** -0.5, "attention_head_dim", "hidden_size", "num_attention_heads")
        types = self.layers_block_type
        if types is None:
            period, others = self.attn_layer_period, range(self.num_hidden_layers - len(_FIRST_TYPES))
            is_hybrid = (layer % period == self.attn_layer_offset for layer in others)
            types = [*_FIRST_TYPES, *("hybrid" if each else "linear_attention" for each in is_hybrid)]
        kinds = kinds_of_types(to, "layers_block_type", types, _TYPES, self.num_hidden_layers)
        if not kinds:
            return
        for field, name in _MAMBA_FIELDS.items():
            to.put(f"mamba.{field}", getattr(self, name), name)
        to.put("mamba.d_inner", self.mamba_expand * self.hidden_size, "mamba_expand", "hidden_size")
        put_dt_rank(to, "mamba_dt_rank", self.mamba_dt_rank)
        put_layers(to, *_with_blocks(kinds, "mamba", 1), "layers_block_type", "attn_layer_period", "attn_layer_offset")

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        """Return the keys, with the layer types, and with the sizes of attention in the shared block."""
        block = next(iter(shared_blocks(config).values()), config)
        return super().from_tinylm(config) | {
            **{name: getattr(config.mamba, field) for field, name in _MAMBA_FIELDS.items()},
            "attention_head_dim": block.d_head,
            "layers_block_type": _types(config),
            "mamba_expand": max(config.mamba_d_inner // config.d_model, 1),
            "mamba_dt_rank": config.mamba_dt_rank,
        }
