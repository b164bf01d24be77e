"""Multi-token prediction (MTP): modules that predict tokens after the next one, for training.

Module k, from 1, reads at position t the hidden states of the module before it (of the last layer for k = 1) and the
embedding of the token at position t + k, and predicts the token at position t + k + 1. The modules use the model's
embedding and LM head. Decoding does not run them.

Shapes: B batch, T positions, D d_model.

References:
    DeepSeek-AI 2024 (DeepSeek-V3), section 2.2, https://arxiv.org/abs/2412.19437
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.attention_mask import AttentionMask
from tinylm_cli.model.block import TransformerBlock
from tinylm_cli.model.linear import Linear
from tinylm_cli.model.norm import LayerNorm, RMSNorm, build_norm
from tinylm_cli.model.rope import Rotation


class MultiTokenModule(nn.Module):
    """``block(eh_proj([enorm(embedding of the token k positions ahead), hnorm(hidden states)]))``.

    Names, and the order of embeddings and hidden states in the concatenation, follow DeepSeek-V3's checkpoint; its
    ``shared_head.norm`` is ``ln_f``. The hidden states of the last layer are read before the final norm of the model,
    as in figure 3 of the paper.

    Args:
        config: The config of the model; uses d_model, norm and n_layers.
        layer: The config of its layer, which has the kind of the last layer.
        kind: The name of that kind in ``layers.kinds``; empty if it has none.
        ahead: k, the positions between a hidden state and the embedding that is read with it.
    """

    ln_f: LayerNorm | RMSNorm  # unless the model has no final norm

    def __init__(self, config: ModelConfig, layer: ModelConfig, kind: str, ahead: int) -> None:
        super().__init__()
        self._ahead = ahead
        self.enorm = build_norm(config)
        self.hnorm = build_norm(config)
        self.eh_proj = Linear(2 * config.d_model, config.d_model, bias=False)
        self.block = TransformerBlock(layer, kind, config.n_layers - 1)
        if config.norm.is_final:
            self.ln_f = build_norm(config)

    def forward(self, hidden: Tensor, embedded: Tensor, mask: AttentionMask, rotation: Rotation | None) -> Tensor:
        """Return the hidden states (B, T, D) that ``ln_f`` and the next module read.

        The last k positions have no token k positions ahead, and read zeros instead of its embedding.

        Args:
            hidden: Hidden states (B, T, D) of the module before.
            embedded: Output of the embedding (B, T, D), the input of the first layer.
            mask: The mask of the last layer.
            rotation: The rotation of the last layer.
        """
        missing = min(self._ahead, embedded.shape[1])
        # the norm comes before the shift, so that it saves no shifted copy of the embeddings
        shifted = functional.pad(self.enorm(embedded)[:, missing:], (0, 0, 0, missing))  # (B, T, D)
        both = torch.cat((shifted, self.hnorm(hidden)), dim=-1)  # (B, T, 2D)
        out: Tensor = self.block(self.eh_proj(both), mask, rotation)  # (B, T, D)
        return out
