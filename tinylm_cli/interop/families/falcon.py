"""Falcon: the 7B (multi-query, one norm), and the 40B and 180B ("new decoder architecture")."""

from typing import Annotated, Any

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.rope_scaling import RopeKeys
from tinylm_cli.interop.tensor_names import BLOOM_NAMES, TensorNames
from tinylm_cli.interop.translation import Translation


class FalconKeys(RopeKeys):
    """``FalconConfig``."""

    constants = {"embedding.multiplier": 1.0, "position.kind": "rope"}
    tensor_names = BLOOM_NAMES
    aliases = {"n_embed": "hidden_size"}

    vocab_size: key.VocabSize = 65024
    hidden_size: key.DModel = 4544
    ffn_hidden_size: key.OptionalDFF = None
    num_hidden_layers: key.NLayers = 32
    num_attention_heads: key.NHeads = 71
    num_kv_heads: Annotated[int | None, *key.like("attention.n_kv_heads")] = None
    activation: key.Activation = "gelu"
    hidden_dropout: key.Dropout = 0.0
    layer_norm_epsilon: key.NormEps = 1e-5
    tie_word_embeddings: key.TieWeights = True
    bias: key.AllBiases = False
    new_decoder_architecture: bool | None = False
    parallel_attn: bool | None = True
    multi_query: bool | None = True
    num_ln_in_parallel_attn: key.OptionalSize = None
    alibi: bool = key.only(False, why="Falcon divides its ALiBi biases by √d_head and rounds them to bfloat16")
    apply_residual_connection_post_layernorm: bool = key.only(False, why="this family's code does not read it")

    def to_tinylm(self, to: Translation) -> None:
        super().to_tinylm(to)
        if self.ffn_hidden_size is None:
            to.put("d_ff", 4 * self.hidden_size, "hidden_size")
        if self.new_decoder_architecture:
            self._new_decoder(to)
        else:
            self._old_decoder(to)

    def _new_decoder(self, to: Translation) -> None:
        norms = self.num_ln_in_parallel_attn
        to.put("attention.n_kv_heads", self.num_kv_heads, "num_kv_heads")
        if not self.parallel_attn:
            to.unsupported("parallel_attn", "the new decoder architecture is always parallel")
        to.put("block.parallel", True, "new_decoder_architecture")
        to.put("block.shared_norm", norms == 1, "num_ln_in_parallel_attn", "new_decoder_architecture")
        if norms not in (None, 1, 2):
            to.unsupported("num_ln_in_parallel_attn", "a parallel block has 1 or 2 norms")

    def _old_decoder(self, to: Translation) -> None:
        if self.multi_query:
            to.put("attention.n_kv_heads", 1, "multi_query")
        to.put("block.parallel", bool(self.parallel_attn), "parallel_attn")
        if self.parallel_attn:
            to.put("block.shared_norm", True, "parallel_attn")
            if self.num_ln_in_parallel_attn not in (None, 1):
                to.unsupported("num_ln_in_parallel_attn", "only the new decoder architecture has 2 norms")

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        """Return the keys; the old decoder architecture is used if it can express the model."""
        new = config.block.parallel and (not config.block.shared_norm or config.n_kv_heads not in (1, config.n_heads))
        return super().from_tinylm(config) | {
            "alibi": False,
            "new_decoder_architecture": new,
            "parallel_attn": config.block.parallel,
            "multi_query": config.n_kv_heads == 1 and not new,
            "num_kv_heads": config.n_kv_heads,
            "num_ln_in_parallel_attn": (1 if config.block.shared_norm else 2) if new else None,
        }

    @classmethod
    def tensor_names_for(cls, config: ModelConfig) -> TensorNames:
        """Return the tensor names, which depend on the number of norms per block."""
        has_two_norms = config.block.parallel and not config.block.shared_norm
        return BLOOM_NAMES.override(layer={"ln_1": "ln_attn", "ln_2": "ln_mlp"}) if has_two_norms else BLOOM_NAMES
