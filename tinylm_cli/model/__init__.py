"""The PyTorch model: its modules, initialization, generation, inspection, saving and checks.

Reading order, from input to output: ``embedding``, ``position``, ``rope``; ``attention_mask``, ``sdpa``, ``attention``,
``latent_attention``; ``feed_forward``, ``experts``; ``norm``, ``block``, ``lm``. Then ``initialization`` (storage and
seeded values), ``kv_cache``, ``sampling`` and ``generation``, ``checkpoint`` (saving and loading), ``module_tree`` and
``forward_trace`` (inspection), and ``checks``.
"""

from tinylm_cli.model.attention import SelfAttention
from tinylm_cli.model.block import TransformerBlock
from tinylm_cli.model.embedding import TokenEmbedding, TransformerEmbedding
from tinylm_cli.model.feed_forward import FeedForward
from tinylm_cli.model.kv_cache import KVCache
from tinylm_cli.model.lm import TinyTransformerLM

__all__ = [
    "FeedForward",
    "KVCache",
    "SelfAttention",
    "TinyTransformerLM",
    "TokenEmbedding",
    "TransformerBlock",
    "TransformerEmbedding",
]
