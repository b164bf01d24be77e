"""The PyTorch model: one module per block of a config, initialization, weights, generation, inspection and checks."""

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
