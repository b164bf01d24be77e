"""Low-rank adapters that each layer adds to projections of its shared block (Zamba2)."""

from __future__ import annotations

from torch import Tensor, nn

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.linear import Linear


class Adapter(nn.Module):
    """``lora_B(lora_A(x))``, which is added to the output of a projection of ``x``.

    Args:
        d_in: Dimensions of the input.
        rank: Dimensions between the two maps, r.
        d_out: Dimensions of the output.

    References:
        Hu et al. 2021 (LoRA), https://arxiv.org/abs/2106.09685
    """

    def __init__(self, d_in: int, rank: int, d_out: int) -> None:
        super().__init__()
        self.lora_A = Linear(d_in, rank, bias=False)
        self.lora_B = Linear(rank, d_out, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` (..., d_in) to (..., d_out)."""
        out: Tensor = self.lora_B(self.lora_A(x))  # (..., d_out)
        return out


class BlockAdapters(nn.Module):
    """The adapters of one layer: of queries, keys and values, and of the gate and up projections together.

    Args:
        config: The config of the layer's kind; uses the sizes of attention and of the feed-forward network.

    References:
        Glorioso et al. 2024 (Zamba2), section 2, https://arxiv.org/abs/2411.15242
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        d_in, rank = config.d_attention_input, config.attention.adapter_rank
        self.q_proj = self.k_proj = self.v_proj = self.feed_forward = None
        if rank is not None:
            self.q_proj = Adapter(d_in, rank, config.n_heads * config.d_head)
            self.k_proj = Adapter(d_in, rank, config.n_kv_heads * config.d_head)
            if not config.attention.keys_as_values:
                self.v_proj = Adapter(d_in, rank, config.n_kv_heads * config.d_value_per_kv_head)
        rank = config.feed_forward.adapter_rank
        if rank is not None:
            projections = 2 if config.feed_forward.gated else 1
            self.feed_forward = Adapter(config.d_model, rank, projections * config.d_ff)


def adapted(projected: Tensor, x: Tensor, adapter: Adapter | None) -> Tensor:
    """Return the output of a projection of ``x``, plus the output of its adapter if it has one."""
    return projected if adapter is None else projected + adapter(x)
