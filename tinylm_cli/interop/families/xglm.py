"""Meta's XGLM: the architecture of BioGPT, with sinusoidal positions."""

from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.families.biogpt import ScaledEmbeddingKeys
from tinylm_cli.interop.families.opt import OPTKeys
from tinylm_cli.interop.tensor_names import EMBEDDING
from tinylm_cli.interop.translation import Translation


class XGLMKeys(ScaledEmbeddingKeys):
    """``XGLMConfig``."""

    constants = {
        "position.kind": "sinusoidal",
        "position.sinusoids": "tensor2tensor",
        "position.offset": 2,
        "norm.eps": 1e-5,
    }
    tensor_names = OPTKeys.tensor_names._replace(
        top_level={EMBEDDING: "model.embed_tokens", "ln_f": "model.layer_norm", "lm_head": "lm_head"},
        prefix="model.layers.{i}.",
    )
    aliases = {
        "num_attention_heads": "attention_heads",
        "hidden_size": "d_model",
        "num_hidden_layers": "num_layers",
        "pad_token_id": "zero_row",
    }

    vocab_size: key.VocabSize = 256008
    max_position_embeddings: key.MaxLen = 2048
    d_model: key.DModel = 1024
    ffn_dim: key.DFF = 4096
    num_layers: key.NLayers = 24
    attention_heads: key.NHeads = 16
    activation_function: key.Activation = "gelu"
    dropout: key.Dropout = 0.1
    tie_word_embeddings: key.TieWeights = True
    zero_row: key.OptionalCount = 1  # of the table of positions, whose first two rows are not used

    def to_tinylm(self, to: Translation) -> None:
        """Report a padding token whose row of the table of positions is used: this family's code sets it to zero."""
        super().to_tinylm(to)
        if self.zero_row is not None and self.zero_row >= 2:
            to.unsupported("zero_row", "one position would have no encoding", "write 0, 1 or null")
