"""BigCode's StarCoder and SantaCoder: GPT-2 with multi-query attention."""

from typing import Any

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.families.gpt import GPT2Keys
from tinylm_cli.interop.tensor_names import QKV, Fused, TensorLayout
from tinylm_cli.interop.translation import Translation


class GPTBigCodeKeys(GPT2Keys):
    """``GPTBigCodeConfig``."""

    tensor_names = GPT2Keys.tensor_names.override(
        fused=(Fused(QKV, "attn.c_attn", TensorLayout.by_group),), matrices=TensorLayout.plain
    )
    ignored = (
        *GPT2Keys.ignored,
        "attention_softmax_in_fp32",
        "scale_attention_softmax_in_fp32",
        "num_key_value_heads",  # derived from multi_query
        *("inference_runner", "validate_runner_input", "pre_allocate_kv_cache"),
        *("pad_key_length", "max_sequence_length", "max_batch_size"),
    )

    activation_function: key.Activation = "gelu_pytorch_tanh"
    multi_query: bool | None = True

    def to_tinylm(self, to: Translation) -> None:
        """Map as GPT-2; multi-query attention has one KV head."""
        super().to_tinylm(to)
        if self.multi_query:
            to.put("attention.n_kv_heads", 1, "multi_query")

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        return super().from_tinylm(config) | {"multi_query": config.n_kv_heads == 1}
