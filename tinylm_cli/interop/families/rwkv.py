"""RWKV-4: time mixing, a linear attention, and channel mixing, a feed-forward network that also reads the token before.

In evaluation, transformers halves the hidden states every ``rescale_every`` layers, against overflow in float16, and
the output projections as often. Norms make up for that, except for the constant in them. tinylm computes what
transformers computes in training, without the factors, and exports ``rescale_every: 0``.
"""

from typing import Annotated, Any

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.tensor_names import EMBEDDING, Fused, TensorLayout, TensorNames
from tinylm_cli.interop.translation import Translation

_TIME_MIXING = {"r": "receptance", "k": "key", "v": "value"}
_CHANNEL_MIXING = {"mix_up": "time_mix_key", "mix_receptance": "time_mix_receptance"}


class RwkvKeys(key.Keys):
    """``RwkvConfig``."""

    constants = {
        "dropout": 0.0,
        "embedding.multiplier": 1.0,
        "embedding.norm": True,
        "position.kind": "none",
        "norm.eps": 1e-5,
        "block.mixer": "rwkv",
        "feed_forward.activation": "relu2",
        "feed_forward.bias": False,
        "feed_forward.channel_mixing": True,
    }
    tensor_names = TensorNames(
        top_level={
            EMBEDDING: "rwkv.embeddings",
            "embedding.norm": "rwkv.blocks.0.pre_ln",
            "ln_f": "rwkv.ln_out",
            "lm_head": "head",
        },
        prefix="rwkv.blocks.{i}.",
        layer={
            "ln_1": "ln1",
            "ln_2": "ln2",
            **{f"rwkv.{ours}_proj": f"attention.{theirs}" for ours, theirs in _TIME_MIXING.items()},
            "rwkv.o_proj": "attention.output",
            "feed_forward.up_proj": "feed_forward.key",
            "feed_forward.down_proj": "feed_forward.value",
            "feed_forward.receptance_proj": "feed_forward.receptance",
        },
        tensors=(
            Fused(("rwkv.decay",), "attention.time_decay"),
            Fused(("rwkv.bonus",), "attention.time_first"),
            *(
                Fused((f"rwkv.mix_{ours}",), f"attention.time_mix_{theirs}", TensorLayout.one_position)
                for ours, theirs in _TIME_MIXING.items()
            ),
            *(
                Fused((f"feed_forward.{ours}",), f"feed_forward.{theirs}", TensorLayout.one_position)
                for ours, theirs in _CHANNEL_MIXING.items()
            ),
        ),
    )
    aliases = {"max_position_embeddings": "context_length"}
    ignored = ("rescale_every",)

    vocab_size: key.VocabSize = 50277
    hidden_size: key.DModel = 4096
    num_hidden_layers: key.NLayers = 32
    context_length: key.MaxLen = 1024
    attention_hidden_size: Annotated[int | None, *key.fills("rwkv.d_inner")] = None
    intermediate_size: key.OptionalDFF = None
    layer_norm_epsilon: float = key.only(1e-5, why="the final norm of transformers always adds 1e-05")
    tie_word_embeddings: key.TieWeights = False

    def to_tinylm(self, to: Translation) -> None:
        """Map the width of channel mixing if ``intermediate_size`` is null: 4 · ``hidden_size``."""
        if self.intermediate_size is None:
            to.put("d_ff", 4 * self.hidden_size, "hidden_size")

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        return super().from_tinylm(config) | {"attention_hidden_size": config.rwkv_d_inner, "rescale_every": 0}
