"""The decoders of ModernBERT (Ettin): normalized embeddings, windows in two of three layers, and BERT's head."""

from typing import Annotated, Any

from pydantic import Field

from tinylm_cli.config.layer_kinds import layer_pattern
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.layer_order import kinds_of_types, put_layers
from tinylm_cli.interop.rope_scaling import RopeParameters, Theta
from tinylm_cli.interop.sliding_windows import LETTERS, LayerRopeParameters, layer_names
from tinylm_cli.interop.tensor_names import EMBEDDING, Fused, TensorNames
from tinylm_cli.interop.translation import Translation

_THETAS = {"full_attention": "global_rope_theta", "sliding_attention": "local_rope_theta"}
"""The older key of the theta of each type of layers."""

_HALF = 2
"""``local_attention`` counts positions before and after a token; a decoder attends to those before it."""


class ModernBertDecoderKeys(key.Keys):
    """``ModernBertDecoderConfig``: by default, every third layer attends to all positions, from the first on."""

    constants = {
        "dropout": 0.0,
        "embedding.multiplier": 1.0,
        "embedding.norm": True,
        "position.kind": "rope",
        "norm.kind": "layernorm",
        "feed_forward.gated": True,
        "head.dense": True,
    }
    tensor_names = TensorNames(
        top_level={
            EMBEDDING: "model.embeddings.tok_embeddings",
            "embedding.norm": "model.embeddings.norm",
            "ln_f": "model.final_norm",
            "head_transform.dense": "lm_head.dense",
            "head_transform.norm": "lm_head.norm",
            "lm_head": "decoder",
        },
        prefix="model.layers.{i}.",
        layer={
            "ln_1": "attn_norm",
            **{f"attention.{part}_proj": f"attn.{part}_proj" for part in "qkv"},
            "attention.o_proj": "attn.Wo",
            "ln_2": "mlp_norm",
            "feed_forward.down_proj": "mlp.Wo",
        },
        fused=(Fused(("feed_forward.gate_proj", "feed_forward.up_proj"), "mlp.Wi"),),
    )
    ignored = (
        *("cls_token_id", "initializer_cutoff_factor", "mlp_dropout"),  # token ids, training
        # of the encoder, which this family's code does not read
        *("causal_mask", "classifier_pooling", "deterministic_flash_attn", "is_causal", "layer_norm_eps"),
        *("position_embedding_type", "reference_compile", "repad_logits_with_grad", "sparse_pred_ignore_index"),
        "sparse_prediction",
    )

    vocab_size: key.VocabSize = 50368
    hidden_size: key.DModel = 768
    intermediate_size: key.DFF = 1152
    num_hidden_layers: key.NLayers = 22
    num_attention_heads: key.NHeads = 12
    hidden_activation: key.Activation = "gelu"
    max_position_embeddings: key.MaxLen = 8192
    norm_eps: key.NormEps = 1e-5
    norm_bias: Annotated[bool, *key.fills("norm.bias")] = False
    attention_bias: key.AttentionBias = False
    mlp_bias: key.FeedForwardBias = False
    decoder_bias: Annotated[bool, *key.fills("head.bias")] = True
    classifier_bias: Annotated[bool, *key.fills("head.dense_bias")] = False
    classifier_activation: key.ActivationName = "gelu"
    local_attention: key.OptionalSize = 128
    sliding_window: Annotated[int | None, Field(ge=-1, le=key.MAX_NUMBER, examples=[64])] = None
    layer_types: key.LayerTypes = None
    global_attn_every_n_layers: key.Size = 3
    rope_parameters: LayerRopeParameters | None = None
    rope_scaling: RopeParameters | None = key.only(why="tinylm reads the RoPE of each type of layers, rope_parameters")
    global_rope_theta: Theta = 160_000.0
    local_rope_theta: Theta = 10_000.0
    tie_word_embeddings: key.TieWeights = True

    def to_tinylm(self, to: Translation) -> None:
        """Map the kinds of layers: with a window or without, and the first, which has no norm before attention."""
        super().to_tinylm(to)
        if not to.has_error("classifier_activation"):
            activation = key.ACTIVATIONS[self.classifier_activation]
            to.put("head.dense_activation", activation, "classifier_activation")
        others = ("layer_types", "local_attention", "sliding_window", "global_attn_every_n_layers")
        if to.has_error("num_hidden_layers", *others):
            return
        period, n_layers = self.global_attn_every_n_layers, self.num_hidden_layers
        types = ["sliding_attention" if layer % period else "full_attention" for layer in range(n_layers)]
        names = {name: name for name in LETTERS}
        types = kinds_of_types(to, "layer_types", self.layer_types or types, names, n_layers)
        if not types:
            return
        thetas = {name: self._theta(name, to) for name in dict.fromkeys(types)}
        common = thetas.get("full_attention", thetas[types[0]])
        to.put("position.theta", common, "global_rope_theta", "rope_parameters")
        window = self.sliding_window  # which takes precedence
        if window is None:
            window = (self.local_attention or 0) // _HALF
        else:
            to.ignore("local_attention")
        if "sliding_attention" in types and window < 1:
            place = "local_attention" if self.sliding_window is None else "sliding_window"
            to.unsupported(place, "layers with a window would attend to no position", f"write {place}: 128")
            return
        kinds: dict[str, dict[str, Any]] = {}
        order = []
        for layer, each in enumerate(types):
            is_local = each == "sliding_attention"
            name = ("local" if is_local else "full") if layer else "first"
            fields = {"position.theta": thetas[each]} if thetas[each] != common else {}
            fields |= {"attention.window": window} if is_local else {}
            kinds[name] = fields | ({} if layer else {"block.mixer_norm": False})
            order.append(name)
        put_layers(to, order, kinds, "layer_types", "global_attn_every_n_layers")

    def _theta(self, layer_type: str, to: Translation) -> float:
        """Return the theta of a type of layers, from its block or else from the older key."""
        block = getattr(self.rope_parameters or LayerRopeParameters(), layer_type) or RopeParameters()
        place = f"rope_parameters.{layer_type}"
        if (block.rope_type or block.type or "default") != "default":
            type_key = "rope_type" if block.rope_type is not None else "type"
            to.unsupported(f"{place}.{type_key}", "tinylm does not scale the RoPE of this family")
        older = _THETAS[layer_type]
        if block.rope_theta is not None:
            to.ignore(older)
            return block.rope_theta
        given: float | None = getattr(self, older)
        default: float = type(self).model_fields[older].default
        return default if given is None else given

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        """Return the keys, with the type of each layer and the RoPE of each type."""
        kinds = layer_pattern(config).kinds
        blocks = {
            name: {"rope_type": "default", "rope_theta": cls.model_fields[older].default}
            for name, older in _THETAS.items()
        }
        for kind in kinds:
            name = "full_attention" if kind.attention.window is None else "sliding_attention"
            blocks[name]["rope_theta"] = kind.position.theta
        windows = [kind.attention.window for kind in kinds if kind.attention.window is not None]
        tokens = {f"{name}_token_id": 0 for name in ("bos", "cls", "eos", "pad", "sep")}  # this family requires numbers
        return super().from_tinylm(config) | {
            **tokens,
            "decoder_bias": config.head.bias,
            "classifier_bias": config.head.dense_bias,
            "classifier_activation": key.activation_name(config.head.dense_activation),
            "layer_types": layer_names(config, LETTERS),
            "local_attention": _HALF * windows[0] if windows else cls.model_fields["local_attention"].default,
            "rope_parameters": blocks,
        }
