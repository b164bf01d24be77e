"""OpenAI's GPT, the first: GPT-2 with norms after the residual additions, and without a final norm."""

from typing import Any

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.families.gpt import GPT2_ALIASES, GPT2Keys
from tinylm_cli.interop.tensor_names import EMBEDDING
from tinylm_cli.interop.translation import Translation

_ACTIVATIONS = {"gelu": "gelu_tanh", "relu": "relu", "silu": "silu", "swish": "silu"}


class OpenAIGPTKeys(key.Keys):
    """``OpenAIGPTConfig``: the hidden size of a feed-forward network is 4 · ``n_embd``."""

    constants = {"embedding.multiplier": 1.0, "position.kind": "learned", "norm.placement": "post_residual"}
    tensor_names = GPT2Keys.tensor_names._replace(
        top_level={
            EMBEDDING: "transformer.tokens_embed",
            "embedding.positional_encoding": "transformer.positions_embed",
            "lm_head": "lm_head",
        },
        layer={
            "attention.o_proj": "attn.c_proj",
            "post_ln_1": "ln_1",
            "feed_forward.up_proj": "mlp.c_fc",
            "feed_forward.down_proj": "mlp.c_proj",
            "post_ln_2": "ln_2",
        },
    )
    aliases = GPT2_ALIASES
    ignored = ("n_ctx", "n_special", "predict_special_tokens")  # of older versions

    vocab_size: key.VocabSize = 40478
    n_embd: key.DModel = 768
    n_layer: key.NLayers = 12
    n_head: key.NHeads = 12
    n_positions: key.MaxLen = 512
    afn: key.Text = "gelu"
    resid_pdrop: key.Dropout = 0.1
    layer_norm_epsilon: key.NormEps = 1e-5
    tie_word_embeddings: key.TieWeights = True

    def to_tinylm(self, to: Translation) -> None:
        """Map the feed-forward width and its activation; in this family, ``gelu`` is the tanh approximation."""
        super().to_tinylm(to)
        to.put("d_ff", 4 * self.n_embd, "n_embd")
        if self.afn is not None and self.afn in _ACTIVATIONS:
            to.put("feed_forward.activation", _ACTIVATIONS[self.afn], "afn")
        else:
            to.unsupported("afn", "this family's code does not support it", f"write {', '.join(_ACTIVATIONS)}")

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        names = {activation: name for name, activation in reversed(_ACTIVATIONS.items())}
        return super().from_tinylm(config) | {"afn": names.get(config.feed_forward.activation)}
