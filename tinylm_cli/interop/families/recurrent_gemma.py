"""Google's RecurrentGemma (Griffin): gated linear recurrences, and attention with a sliding window."""

import struct
from typing import Any

from tinylm_cli.config.layer_kinds import layer_pattern
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.layer_order import kinds_of_types, put_layers
from tinylm_cli.interop.rope_scaling import RopeKeys, RotaryFraction
from tinylm_cli.interop.tensor_names import LLAMA_NAMES, Fused, mlp
from tinylm_cli.interop.translation import Translation

_KINDS = {"recurrent": {"block.mixer": "rg_lru"}, "attention": {}}
_NAMES = {name: name for name in _KINDS}
_RECURRENT = {"gate_proj": "linear_y", "in_proj": "linear_x", "conv": "conv_1d", "out_proj": "linear_out"}
_GATES = {"input_gate": "input_gate", "decay_gate": "recurrent_gate"}


class RecurrentGemmaKeys(key.LlamaLikeKeys, RopeKeys):
    """``RecurrentGemmaConfig``."""

    constants = {
        **key.LLAMA_LIKE,
        "norm.zero_centered": True,
        "attention.out_bias": True,
        "feed_forward.bias": True,
    }
    tensor_names = LLAMA_NAMES.override(
        top_level={"ln_f": "model.final_norm"},
        layer={
            "ln_1": "temporal_pre_norm",
            "ln_2": "channel_pre_norm",
            **{f"attention.{part}_proj": f"temporal_block.{part}_proj" for part in "qkvo"},
            **{f"rg_lru.{ours}": f"temporal_block.{theirs}" for ours, theirs in _RECURRENT.items()},
            **mlp("feed_forward", "mlp_block"),
        },
        tensors=(
            Fused(("rg_lru.decay",), "temporal_block.rg_lru.recurrent_param"),
            *(
                Fused((f"rg_lru.{ours}.{part}",), f"temporal_block.rg_lru.{theirs}_{part}")
                for ours, theirs in _GATES.items()
                for part in ("weight", "bias")
            ),
        ),
    )
    aliases = {"sliding_window": "attention_window_size"}
    # transformers uses these keys only for initialization, or ignores them
    ignored = ("embeddings_scale_by_sqrt_dim", "final_w_init_variance_scale", "head_dim", "w_init_variance_scale")

    vocab_size: key.VocabSize = 256_000
    hidden_size: key.DModel = 2560
    intermediate_size: key.Size = 3 * 2560
    num_hidden_layers: key.NLayers = 26
    num_attention_heads: key.NHeads = 10
    hidden_act: key.AnyValue = None  # without effect: hidden_activation is used instead
    hidden_activation: key.Activation = key.only(
        "gelu_pytorch_tanh", why="tinylm's recurrent layers have the tanh approximation of GELU"
    )
    max_position_embeddings: key.MaxLen = 2048  # the default attention window; transformers has no limit
    rms_norm_eps: key.NormEps = 1e-6
    tie_word_embeddings: key.TieWeights = True
    attention_bias: key.AttentionBias = False
    partial_rotary_factor: RotaryFraction = 0.5
    attention_window_size: key.LayerWindow = 2048
    logits_soft_cap: key.LogitSoftcap = 30.0
    lru_width: key.OptionalSize = None
    conv1d_width: key.Size = 4
    block_types: key.LayerTypes = None

    def to_tinylm(self, to: Translation) -> None:
        """Map the kinds of layers; d_ff is half of ``intermediate_size``, and embeddings are scaled in bfloat16."""
        super().to_tinylm(to)
        to.ignore("hidden_act")
        to.put("d_ff", self.intermediate_size // 2, "intermediate_size")
        if to.has_error("hidden_size", "num_hidden_layers", "num_attention_heads", "block_types"):
            return
        to.put("embedding.multiplier", _bfloat16(self.hidden_size**0.5), "hidden_size")
        to.put("attention.window", self.attention_window_size, "attention_window_size")
        types = ["recurrent", "recurrent", "attention"] if self.block_types is None else self.block_types
        n_layers = self.num_hidden_layers
        repeated = (types * (n_layers // max(len(types), 1) + 1))[:n_layers]
        names = kinds_of_types(to, "block_types", repeated, _NAMES, n_layers)
        if "recurrent" in names:
            to.put("rg_lru.d_inner", self.lru_width or self.hidden_size, "lru_width")
            to.put("rg_lru.n_blocks", self.num_attention_heads, "num_attention_heads")
            to.put("rg_lru.kernel_size", self.conv1d_width, "conv1d_width")
        put_layers(to, names, _KINDS, "block_types")

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        kinds = list(layer_pattern(config))
        recurrent = next((kind for kind in kinds if kind.block.mixer == "rg_lru"), config)
        windows = (kind.attention.window for kind in kinds if kind.block.mixer == "attention")
        return super().from_tinylm(config) | {
            "intermediate_size": 2 * config.d_ff,
            "attention_window_size": next((window for window in windows if window), config.max_len),
            "lru_width": recurrent.rg_lru_d_inner,
            "conv1d_width": recurrent.rg_lru.kernel_size,
            "block_types": ["recurrent" if kind.block.mixer == "rg_lru" else "attention" for kind in kinds],
        }


def _bfloat16(value: float) -> float:
    """Round to the nearest bfloat16, as transformers rounds the scale of the embeddings."""
    (bits,) = struct.unpack("<I", struct.pack("<f", value))
    bits += 0x7FFF + (bits >> 16 & 1)  # half a unit in the last place; ties to even
    (rounded,) = struct.unpack("<f", struct.pack("<I", bits & 0xFFFF0000))
    return float(rounded)
