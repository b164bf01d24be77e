"""Hugging Face's SmolLM3: Llama without RoPE in some layers, which may have a window."""

from typing import Any

from tinylm_cli.config.layer_kinds import LOCAL, layer_pattern
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.layer_order import put_layers
from tinylm_cli.interop.rope_scaling import RopeKeys, Theta
from tinylm_cli.interop.sliding_windows import LETTERS, WITHOUT_ROPE, RopeLayerKeys, layer_names, window_letters
from tinylm_cli.interop.translation import Translation


class SmolLM3Keys(RopeLayerKeys, RopeKeys):
    """``SmolLM3Config``: by default, every fourth layer has no RoPE."""

    constants = key.LLAMA_LIKE
    ignored = ("max_window_layers",)  # written by old versions, read by none

    vocab_size: key.VocabSize = 128256
    hidden_size: key.DModel = 2048
    num_hidden_layers: key.NLayers = 36
    num_attention_heads: key.NHeads = 16
    num_key_value_heads: key.NKVHeads = 4
    head_dim: key.DHead = None
    max_position_embeddings: key.MaxLen = 32768
    tie_word_embeddings: key.TieWeights = True
    rope_theta: Theta = 2e6
    rms_norm_eps: key.NormEps = 1e-6
    attention_bias: key.AttentionBias = False
    mlp_bias: key.FeedForwardBias = False
    use_sliding_window: bool = False
    sliding_window: key.LayerWindow = None
    layer_types: key.LayerTypes = None

    def to_tinylm(self, to: Translation) -> None:
        """Map the layers without RoPE (0 in ``no_rope_layers``) and the layers with a window."""
        super().to_tinylm(to)
        n_layers = self.num_hidden_layers
        if to.has_error("layer_types") or not (ropes := self.rope_layers(to)):
            return
        window = self.sliding_window if self.use_sliding_window else None
        if window is None:
            to.ignore("sliding_window", "layer_types")
            is_local = [False] * n_layers
        elif self.layer_types is None:
            is_local = [not rope for rope in ropes]
        else:
            letters = window_letters(to, "layer_types", self.layer_types, LETTERS, n_layers)
            if not letters:
                return
            is_local = [letter == LOCAL for letter in letters]
        kinds = {
            _name(rope=rope, local=local): {
                **({} if rope else WITHOUT_ROPE),
                **({"attention.window": window} if local else {}),
            }
            for rope in (True, False)
            for local in (True, False)
        }
        names = [_name(rope=rope, local=local) for rope, local in zip(ropes, is_local, strict=True)]
        put_layers(to, names, kinds, "no_rope_layers", "no_rope_layer_interval")

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        kinds = list(layer_pattern(config))
        windows = {kind.attention.window for kind in kinds} - {None}
        return super().from_tinylm(config) | {
            "layer_types": layer_names(config, LETTERS),
            "use_sliding_window": bool(windows),
            "sliding_window": next(iter(windows), None),
        }


def _name(*, rope: bool, local: bool) -> str:
    """Return the name of a kind of layers: with RoPE or without, with a window or without."""
    return f"{'rope' if rope else 'nope'}{'_local' if local else ''}"
