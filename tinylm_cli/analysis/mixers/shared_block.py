"""A transformer block that several layers share, whose projected output is added to the input of a layer's mixer.

The weights of the block exist once (``analysis/tensor_table.py``); each layer has a projection of its own, and computes
and caches its own queries, keys and values.

Letters: B batch_size, T tokens, D d_model.

References:
    Glorioso et al. 2024 (Zamba), section 2, https://arxiv.org/abs/2405.16712
"""

from __future__ import annotations

from collections.abc import Iterator

from tinylm_cli.analysis.mixers.mixer import InferencePass, Mixer, norm_bytes
from tinylm_cli.analysis.mixers.parallel_mixers import ParallelMixers
from tinylm_cli.analysis.saved_tensors.feed_forward import feed_forward
from tinylm_cli.analysis.saved_tensors.norm import norm
from tinylm_cli.analysis.saved_tensors.saved_tensor import ForwardPass, SavedTensor
from tinylm_cli.analysis.tensor import Component, Tensor, linear
from tinylm_cli.config.schema import ModelConfig

BLOCK_INPUT = "shared_block.ln_1 output"
"""The tensor (B, T, 2·D) that attention reads."""

BLOCK_OUTPUT = "shared block output"
"""The tensor (B, T, D) that the projection of the layer reads."""


class SharedBlock(ParallelMixers):
    """Attention in a shared block, before another mixer, as ``model/block.py:TransformerBlock`` runs them.

    Args:
        attention: Attention of the shared block.
        mixer: The mixer of the layer.
    """

    def __init__(self, attention: Mixer, mixer: Mixer) -> None:
        super().__init__(attention, mixer)
        self.attention, self.mixer = attention, mixer

    def tensors(self, config: ModelConfig) -> Iterator[Tensor]:
        """Yield the parameters of the layer's own mixer, and its projection of the output of the shared block."""
        yield from self.mixer.tensors(config)
        d = config.d_model
        component: Component = "feed_forward" if config.block.feed_forward else "attention"
        yield from linear("shared_projection", d, d, component, bias=False)  # (D, D)
        for name, rank, d_in, d_out in _adapters(config):
            of_network = name == "feed_forward"
            yield from _adapter(f"adapters.{name}", d_in, rank, d_out, "feed_forward" if of_network else "attention")

    def saved_by_block(self, run: ForwardPass) -> Iterator[SavedTensor]:
        """Yield the tensors that the shared block and the projection of its output save.

        Follows ``model/shared_block.py:SharedBlock.forward``.
        """
        config, d_in = run.config, run.config.d_attention_input

        def vectors(name: str, part: str, dims: int) -> SavedTensor:
            return SavedTensor(name, part, run.tokens * dims * run.element_bytes, "sequence")  # B × T × dims

        both = vectors("hidden states and embeddings", "norm", d_in)
        yield from norm(run, "shared_block.ln_1", both, run.tokens, d_in)
        for name, rank, _, _ in _adapters(config):
            if name != "feed_forward":
                yield vectors(f"{name} adapter", "attention", rank)._replace(sharding="none")  # read by lora_B
        yield from self.attention.saved(run, vectors(BLOCK_INPUT, "norm", d_in))
        output = vectors(BLOCK_OUTPUT, "shared block", config.d_model)
        if config.block.feed_forward:
            attended = vectors("shared_block.attention output", "norm", config.d_model)
            yield from norm(run, "shared_block.ln_2", attended, run.tokens, config.d_model)
            yield vectors("shared_block.ln_2 output", "norm", config.d_model)
            if config.feed_forward.adapter_rank is not None:
                rank = config.feed_forward.adapter_rank
                yield vectors("feed_forward adapter", "feed_forward", rank)._replace(sharding="none")
            yield from feed_forward(run, "feed_forward", run.tokens, config.d_ff)
        yield output  # read by shared_projection

    def saved(self, run: ForwardPass, x: SavedTensor) -> Iterator[SavedTensor]:
        """Yield the tensors that the layer's own mixer saves; the shared block saves its tensors before the norm."""
        return self.mixer.saved(run, x)

    def gradient_bytes(self, run: ForwardPass) -> int:
        """Return the bytes of the gradients of the layer's own mixer."""
        return self.mixer.gradient_bytes(run)

    def prefill_bytes(self, config: ModelConfig, inference: InferencePass) -> Iterator[int]:
        """Yield the bytes of attention over the concatenated inputs, and of the layer's own mixer."""
        vectors = inference.tokens * config.d_model * inference.element_bytes  # B × T × D
        # the concatenated inputs, and their norm, in place of x and norm(x)
        wider = inference.tokens * _joined_bytes(config, inference.element_bytes)
        yield vectors + wider
        for point in self.attention.prefill_bytes(config, inference):
            yield wider + point
        for point in self.mixer.prefill_bytes(config, inference):
            yield 2 * vectors + point  # the output of the block, and its sum with x

    def decode_bytes(self, config: ModelConfig, inference: InferencePass) -> tuple[int, tuple[int, ...]]:
        """Return the bytes of attention over the concatenated inputs, and of the layer's own mixer."""
        vector = config.d_model * inference.element_bytes  # D
        wider = _joined_bytes(config, inference.element_bytes)  # the concatenated inputs, and their norm
        held, of_attention = self.attention.decode_bytes(config, inference)
        throughout, of_mixer = self.mixer.decode_bytes(config, inference)
        points = [vector + wider, *(held + wider + point for point in of_attention)]  # vector: the embedding
        # the output of the block, and its sum with x
        return 0, (*points, *(2 * vector + throughout + point for point in of_mixer))


def _adapters(config: ModelConfig) -> Iterator[tuple[str, int, int, int]]:
    """Yield the name, rank, inputs and outputs of each adapter of a layer.

    References:
        Glorioso et al. 2024 (Zamba2), section 2, https://arxiv.org/abs/2411.15242
    """
    attention, feed_forward = config.attention, config.feed_forward
    if attention.adapter_rank is not None:
        d_in, rank = config.d_attention_input, attention.adapter_rank
        yield "q_proj", rank, d_in, config.n_heads * config.d_head  # H·K
        yield "k_proj", rank, d_in, config.n_kv_heads * config.d_head  # G·K
        if not attention.keys_as_values:
            yield "v_proj", rank, d_in, config.n_kv_heads * config.d_value_per_kv_head  # G·K_v
    if feed_forward.adapter_rank is not None:
        n_projections = 2 if feed_forward.gated else 1
        yield "feed_forward", feed_forward.adapter_rank, config.d_model, n_projections * config.d_ff  # F each


def _adapter(name: str, d_in: int, rank: int, d_out: int, component: Component) -> Iterator[Tensor]:
    """Yield both maps of an adapter (Hu et al. 2021, LoRA, https://arxiv.org/abs/2106.09685)."""
    yield from linear(f"{name}.lora_A", d_in, rank, component, bias=False)  # (r, in)
    yield from linear(f"{name}.lora_B", rank, d_out, component, bias=False)  # (out, r)


def _joined_bytes(config: ModelConfig, element_bytes: int) -> int:
    """Return the bytes per token of the concatenated inputs of the block, and of their norm: 2·D elements each."""
    return config.d_attention_input * (element_bytes + norm_bytes(config, element_bytes))
