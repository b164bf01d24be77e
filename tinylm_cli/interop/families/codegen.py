"""Salesforce's CodeGen: GPT-J with fused queries, values and keys."""

from tinylm_cli.interop.families.gpt import GPTJKeys
from tinylm_cli.interop.tensor_names import CODEGEN_SHARDS, Fused, TensorLayout
from tinylm_cli.interop.translation import Translation


class CodeGenKeys(GPTJKeys):
    """``CodeGenConfig``."""

    tensor_names = GPTJKeys.tensor_names.override(
        fused=(
            Fused(("attention.q_proj", "attention.v_proj", "attention.k_proj"), "attn.qkv_proj", TensorLayout.by_shard),
        ),
        recomputed_suffixes=("attn.causal_mask", "attn.bias", "attn.masked_bias", "attn.embed_positions"),
    )

    def to_tinylm(self, to: Translation) -> None:
        """Map as GPT-J; the fused projection consists of shards of equal size."""
        super().to_tinylm(to)
        if self.n_embd % CODEGEN_SHARDS and not to.has_error("n_embd"):
            to.unsupported("n_embd", f"this family's code divides it into {CODEGEN_SHARDS} shards")
