"""EleutherAI's GPT-Neo: GPT-2 without score scaling and q/k/v biases, and with windows in every second layer."""

from typing import Any

from tinylm_cli.config.base import MAX_N_LAYERS
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.families.gpt import GPT2Keys
from tinylm_cli.interop.sliding_windows import layer_names, put_windows, window_letters
from tinylm_cli.interop.tensor_names import TensorLayout
from tinylm_cli.interop.translation import Translation

_LETTERS = {"local": "L", "global": "G"}
_DEFAULT_TYPES = [[["global", "local"], 12]]
_EXAMPLE = 'for example [[["global", "local"], 12]]'


class GPTNeoKeys(key.Keys):
    """``GPTNeoConfig``."""

    constants = {
        "embedding.multiplier": 1.0,
        "position.kind": "learned",
        "attention.bias": False,
        "attention.out_bias": True,
        "attention.scale": 1.0,
    }
    tensor_names = GPT2Keys.tensor_names.override(
        layer={
            **{f"attention.{part}_proj": f"attn.attention.{part}_proj" for part in "qkv"},
            "attention.o_proj": "attn.attention.out_proj",
        },
        fused=(),
        matrices=TensorLayout.plain,
        recomputed_suffixes=("attn.attention.bias", "attn.attention.masked_bias"),
    )
    aliases = {"num_attention_heads": "num_heads", "num_hidden_layers": "num_layers"}
    ignored = ("embed_dropout",)  # training

    vocab_size: key.VocabSize = 50257
    hidden_size: key.DModel = 2048
    intermediate_size: key.OptionalDFF = None
    num_layers: key.NLayers = 24
    num_heads: key.NHeads = 16
    max_position_embeddings: key.MaxLen = 2048
    activation_function: key.Activation = "gelu_new"
    resid_dropout: key.Dropout = 0.0
    layer_norm_epsilon: key.NormEps = 1e-5
    tie_word_embeddings: key.TieWeights = True
    window_size: key.LayerWindow = 256
    attention_types: key.AnyValue = None  # lists of types, each with its number of repetitions
    attention_layers: key.LayerTypes = None  # the type of each layer; takes precedence, as in transformers

    def to_tinylm(self, to: Translation) -> None:
        """Map the feed-forward width, 4 · ``hidden_size`` if absent, and the layers that have a window."""
        super().to_tinylm(to)
        if self.intermediate_size is None:
            to.put("d_ff", 4 * self.hidden_size, "hidden_size")
        name, layers = "attention_layers", self.attention_layers
        if layers is None:
            name = "attention_types"
            layers = _repeated(_DEFAULT_TYPES if self.attention_types is None else self.attention_types)
        if layers is None:
            message = f"{name} must be a list of types, each with its number of repetitions"
            to.report("wrong-type", name, message, to.span_of(name), _EXAMPLE)
        elif not to.has_error("num_layers"):
            letters = window_letters(to, name, layers, _LETTERS, self.num_layers)
            put_windows(to, letters, self.window_size or 256, name, "window_size")

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        """Return the keys; ``window_size`` is a number even if no layer uses it."""
        layers = layer_names(config, _LETTERS)
        window = config.attention.window or config.max_len
        return super().from_tinylm(config) | {"attention_types": [[layers, 1]], "window_size": window}


def _repeated(types: Any) -> list[str] | None:
    """Return the type of each layer; None if ``types`` is malformed."""
    layers: list[str] = []
    for repeated in types if isinstance(types, list) else [None]:
        match repeated:
            case [[*names], int(count)] if all(isinstance(name, str) for name in names):
                if len(names) * count > MAX_N_LAYERS:
                    return None
                layers += names * count
            case _:
                return None
    return layers
