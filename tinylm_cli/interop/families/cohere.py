"""Cohere's Command, Aya and Compass: parallel blocks with one LayerNorm without bias, and scaled logits."""

from typing import Annotated, Any

from tinylm_cli.config.layer_kinds import layer_pattern
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.layer_order import kinds_of_types, put_layers
from tinylm_cli.interop.rope_scaling import RopeKeys, Theta
from tinylm_cli.interop.sliding_windows import WITHOUT_ROPE, LayerRopeParameters, WindowPeriodKeys
from tinylm_cli.interop.translation import Translation


class _CommonKeys(key.LlamaLikeKeys):
    """The keys that all Cohere families share."""

    constants = {
        **key.LLAMA_LIKE,
        "norm.kind": "layernorm",
        "norm.bias": False,
        "block.parallel": True,
        "block.shared_norm": True,
    }

    vocab_size: key.VocabSize = 256000
    hidden_size: key.DModel = 8192
    intermediate_size: key.DFF = 22528
    num_hidden_layers: key.NLayers = 40
    num_attention_heads: key.NHeads = 64
    max_position_embeddings: key.MaxLen = 8192
    tie_word_embeddings: key.TieWeights = True
    layer_norm_eps: key.NormEps = 1e-5
    attention_bias: key.AttentionBias = False


class CohereRopeKeys(_CommonKeys, RopeKeys):
    """The keys of the families with RoPE that pairs adjacent dimensions."""

    constants = {**_CommonKeys.constants, "position.pairing": "adjacent"}

    logit_scale: Annotated[float, *key.fills("head.logit_scale")] = 0.0625


class CohereKeys(CohereRopeKeys):
    """``CohereConfig``."""

    ignored = ("model_max_length",)  # of the tokenizer

    head_dim: key.DHead = None
    rope_theta: Theta = 500_000.0
    use_qk_norm: bool = key.only(False, why=key.QK_NORM_PER_HEAD)


class Cohere2Keys(CohereRopeKeys, WindowPeriodKeys):
    """``Cohere2Config``: the layers without a window, by default every fourth, have no RoPE."""

    # the architecture implies them; transformers does not read them
    ignored = (
        *("head_dim", "layer_switch", "order_of_interleaved_layers", "position_embedding_type", "rotary_pct"),
        *(
            "use_embedding_sharing",
            "use_gated_activation",
            "use_parallel_block",
            "use_parallel_embedding",
            "use_qk_norm",
        ),
    )
    global_fields = WITHOUT_ROPE

    sliding_window: Annotated[int, *key.like("attention.window")] = 4096


class CohereCompassTextKeys(_CommonKeys):
    """``CohereCompassTextConfig``: ``rope_parameters`` has the RoPE of each type of layers, null for none."""

    ignored = ("head_dim", "pooling")  # derived; of sequence classification

    logit_scale: Annotated[float | None, *key.like("head.logit_scale")] = None
    rope_parameters: LayerRopeParameters | None = None
    sliding_window: key.LayerWindow = 4096
    layer_types: key.LayerTypes = None

    def to_tinylm(self, to: Translation) -> None:
        """Map the layers that have a window, and the RoPE of each type of layers."""
        super().to_tinylm(to)
        if self.logit_scale is not None:
            to.put("head.logit_scale", self.logit_scale, "logit_scale")
        if to.has_error("num_hidden_layers", "layer_types"):
            return
        types = self.layer_types if self.layer_types is not None else ["full_attention"] * self.num_hidden_layers
        kinds: dict[str, dict[str, Any]] = {}
        for layer_type, kind in _KINDS.items():
            kinds[kind] = self._rope_fields(layer_type, to) if layer_type in types else {}
        if "sliding_attention" in types:
            if self.sliding_window is None:
                message = "layer_types lists sliding_attention, but sliding windows are off"
                to.contradiction("layer_types", message, "give sliding_window a number, or write full_attention")
                return
            kinds["local"] |= {"attention.window": self.sliding_window}
        names = kinds_of_types(to, "layer_types", types, _KINDS, self.num_hidden_layers)
        put_layers(to, names, kinds, "layer_types", "sliding_window")

    def _rope_fields(self, layer_type: str, to: Translation) -> dict[str, Any]:
        place, blocks = f"rope_parameters.{layer_type}", self.rope_parameters or LayerRopeParameters()
        block = getattr(blocks, layer_type)
        if block is None and layer_type in blocks.model_fields_set:
            return dict(WITHOUT_ROPE)
        if block is None:
            why = "the code of this family requires the RoPE of each type of layers"
            to.missing(place, why, f'for example add "{layer_type}": {{"rope_type": "default", "rope_theta": 10000.0}}')
            return {}
        for name in ("rope_type", "type"):
            if getattr(block, name) not in (None, "default"):
                to.unsupported(f"{place}.{name}", "tinylm reads this family only without RoPE scaling")
        if block.partial_rotary_factor not in (None, 1.0):
            to.unsupported(f"{place}.partial_rotary_factor", "this family's code rotates all dimensions of a head")
        return {"position.theta": block.rope_theta or 10_000.0}

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        """Return the keys, with the type of each layer and the RoPE of each type."""
        pattern = layer_pattern(config)
        windows = [kind.attention.window for kind in pattern.kinds if kind.attention.window is not None]
        blocks: dict[str, Any] = {}
        for kind in pattern.kinds:
            rope = {"rope_type": "default", "rope_theta": kind.position.theta}
            blocks[_type(kind)] = rope if kind.position.kind == "rope" else None
        return super().from_tinylm(config) | {
            "logit_scale": config.head.logit_scale,
            "sliding_window": windows[0] if windows else None,
            "layer_types": [_type(kind) for kind in pattern],
            "rope_parameters": blocks,
        }


_KINDS = {"full_attention": "full", "sliding_attention": "local"}


def _type(kind: ModelConfig) -> str:
    return "full_attention" if kind.attention.window is None else "sliding_attention"
