"""The language model: embedding, transformer blocks, final norm and head."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import accumulate, repeat
from typing import NamedTuple, Self, cast

import torch
from torch import Tensor, nn

from tinylm_cli.config.layer_kinds import index_sources, kv_sources, layer_pattern, shared_blocks
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.altup import StreamMean
from tinylm_cli.model.attention import SharedKV
from tinylm_cli.model.attention_mask import AttentionMask, attention_masks
from tinylm_cli.model.block import TransformerBlock
from tinylm_cli.model.embedding import TransformerEmbedding
from tinylm_cli.model.experts import Shortcut
from tinylm_cli.model.generation import decode
from tinylm_cli.model.head_transform import HeadTransform
from tinylm_cli.model.hyper_connections import StreamReader, copied
from tinylm_cli.model.initialization import initialize, materialize
from tinylm_cli.model.input_checks import checked_mask, checked_tokens, require_attention
from tinylm_cli.model.kv_cache import KVCache
from tinylm_cli.model.latent_attention import SharedSelection
from tinylm_cli.model.linear import Linear
from tinylm_cli.model.loop import Loop
from tinylm_cli.model.mtp import MultiTokenModule
from tinylm_cli.model.norm import LayerNorm, RMSNorm, build_norm
from tinylm_cli.model.rope import RotaryPosition, Rotation, rotary_configs, rotary_key, rotary_positions
from tinylm_cli.model.sampling import SamplingParams
from tinylm_cli.model.shared_block import SharedBlock


class _LayersRun(NamedTuple):
    """Output of the layers, and the inputs that multi-token prediction modules read too."""

    embedded: Tensor | None  # output of the embedding, (B, T, D), if it is kept
    hidden: Tensor  # output of the last layer, (B, T, D)
    mask: AttentionMask  # of the last layer
    rotation: Rotation | None  # of the last layer


class TinyTransformerLM(nn.Module):
    """A decoder-only transformer language model.

    The constructor builds the course's architecture, on the device of an active ``torch.device`` context. It draws the
    seed from torch's global generator, so that ``torch.manual_seed`` makes it reproducible. :meth:`from_config` builds
    any architecture.

    Args:
        vocab_size: Vocabulary size, V.
        d_model: Width of the residual stream, D.
        n_heads: Attention heads per block, H; divides d_model.
        n_layers: Number of blocks.
        d_ff: Hidden width of each block's feed-forward network, F.
        max_len: Maximum sequence length in tokens.
        dropout: Dropout probability in training, 0 <= dropout < 1.
        tie_weights: Whether the LM head shares the token embedding's weight.

    Attributes:
        config: The config of the model.

    Raises:
        pydantic.ValidationError: A ValueError, if arguments are invalid; names each of them.
        CapacityError: If the weights exceed this machine's memory.

    References:
        Vaswani et al. 2017, https://arxiv.org/abs/1706.03762;
        Press and Wolf 2017 (tied weights), https://arxiv.org/abs/1608.05859
    """

    config: ModelConfig
    embedding: TransformerEmbedding
    shared_blocks: nn.ModuleList  # with block.shared_block
    blocks: nn.ModuleList
    ln_f: LayerNorm | RMSNorm  # unless norm.placement is post_residual
    head_transform: HeadTransform  # with head.dense
    lm_head: Linear  # with head.kind lm
    score: Linear  # with a classification head
    mtp: nn.ModuleList  # with head.n_mtp_layers

    def __init__(
        self,
        vocab_size: int,
        d_model: int,
        n_heads: int,
        n_layers: int,
        d_ff: int,
        max_len: int = 1024,
        dropout: float = 0.1,
        tie_weights: bool = True,  # noqa: FBT001, FBT002 - the course's signature
    ) -> None:
        config = ModelConfig(
            vocab_size=vocab_size,
            d_model=d_model,
            n_heads=n_heads,
            n_layers=n_layers,
            d_ff=d_ff,
            max_len=max_len,
            dropout=dropout,
            tie_weights=tie_weights,
        )
        self._assemble(config)
        device = torch.empty(0).device  # torch 2.6 leaves ``with torch.device`` out of get_default_device
        materialize(self, device=device, dtype=torch.get_default_dtype())
        if device.type != "meta":
            initialize(self, seed=int(torch.empty((), dtype=torch.int64, device="cpu").random_()))

    @classmethod
    def from_config(
        cls,
        config: ModelConfig,
        *,
        seed: int = 0,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> Self:
        """Build the model of ``config`` and initialize its weights.

        Args:
            config: A validated model configuration.
            seed: Any integer; the same seed gives the same weights on every device.
            device: Device of the weights; on ``meta``, they have shapes but no storage.
            dtype: Floating type of the weights.

        Raises:
            CapacityError: If the weights exceed this machine's memory.
        """
        model = cls.__new__(cls)
        model._assemble(config)
        device = torch.device(device)
        materialize(model, device=device, dtype=dtype)
        if device.type != "meta":
            initialize(model, seed=seed)
        return model

    @property
    def device(self) -> torch.device:
        """Device of the token embedding's weight."""
        return self.embedding.token_embedding.embedding.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Data type of the token embedding's weight."""
        return self.embedding.token_embedding.embedding.weight.dtype

    @property
    def mtp_modules(self) -> tuple[MultiTokenModule, ...]:
        """The multi-token prediction modules in order; empty without ``head.n_mtp_layers``."""
        modules = self.mtp if self.config.head.n_mtp_layers else ()
        return cast("tuple[MultiTokenModule, ...]", tuple(modules))

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the outputs of the head: with an LM head the next-token logits at each position.

        Args:
            tokens: Ids (B, T) or (B, T, C), T <= max_len, int64 or another integer dtype.
            mask: Replaces the causal and sliding-window masks: boolean (True may attend) or added to the scores;
                (T, T), (B, T, T) or (B, 1, T, T). Attention returns zeros for a fully masked query.

        Returns:
            Logits (B, T, V) or (B, T, C, V); scores of the labels, (B, T, L) to classify tokens, or (B, L) at the last
            token to classify sequences; without a head, hidden states (B, T, D).

        Raises:
            ValueError: If tokens or mask have an invalid dtype or shape, an id is outside the vocabulary, or a mask is
                given to a model with mixers other than attention or with channel mixing.
        """
        tokens = checked_tokens(tokens, self.config, max_len=self.config.max_len)
        if mask is not None:
            require_attention(self._kinds)
            mask = checked_mask(mask, tokens=tokens, dtype=self.dtype)
        outputs = self.logits(self.hidden(tokens, mask))  # (B, T, V)
        return outputs[:, -1] if self.config.head.kind == "sequence_classification" else outputs  # (B, L) or (B, T, V)

    def logits(self, hidden: Tensor) -> Tensor:
        """Map vectors (..., D) after the final norm to logits (..., V), or (..., C, V) with several codebooks.

        With a classification head, return scores of the labels (..., L); without a head, the vectors.
        """
        head, n_codebooks = self.config.head, self.config.embedding.n_codebooks
        if head.kind == "none":
            return hidden
        if head.dense:
            hidden = self.head_transform(hidden)  # (..., D)
        if head.kind != "lm":
            scores: Tensor = self.score(hidden)  # (..., L)
            return scores
        logits: Tensor = self.lm_head(hidden)  # (..., C · V)
        if n_codebooks > 1:
            logits = logits.view(*hidden.shape[:-1], n_codebooks, -1)  # (..., C, V)
        scale, cap = head.logit_scale, head.logit_softcap
        if scale != 1:
            logits = logits * scale  # (..., V)
        return logits if cap is None else cap * torch.tanh(logits / cap)  # (..., V)

    def hidden(self, tokens: Tensor, mask: Tensor | None = None, cache: KVCache | None = None) -> Tensor:
        """Return the input of the head; arguments are not validated.

        Args:
            tokens: Ids (B, T) or (B, T, C), int64 or int32.
            mask: Replaces the causal and sliding-window masks; (B or 1, 1, T, T).
            cache: KV cache of the positions before ``tokens``; the positions of ``tokens`` are appended to it.

        Returns:
            Vectors (B, T, D) after the final norm, if the model has one.
        """
        x = self._layers(tokens, mask, cache).hidden  # (B, T, D)
        return self.ln_f(x) if self.config.norm.is_final else x  # (B, T, D)

    def multi_token_logits(self, tokens: Tensor) -> Iterator[Tensor]:
        """Yield the logits of the next token, then of each multi-token prediction module, for training.

        They are (B, T, V), or (B, T, C, V) with several codebooks. Position t of module k predicts the token at
        position t + k + 1; its last k positions lack the embedding of the token k positions ahead, so their logits
        belong to no token. The logits of a module are computed when they are asked for, so that the loss of one can
        free them before the next.

        Args:
            tokens: Ids (B, T) or (B, T, C), T <= max_len, int64 or another integer dtype.

        Raises:
            ValueError: If tokens have an invalid dtype or shape, or an id is outside the vocabulary.

        References:
            DeepSeek-AI 2024 (DeepSeek-V3), section 2.2, https://arxiv.org/abs/2412.19437
        """
        tokens = checked_tokens(tokens, self.config, max_len=self.config.max_len)
        return self._multi_token_logits(tokens)

    def _multi_token_logits(self, tokens: Tensor) -> Iterator[Tensor]:
        run = self._layers(tokens, keeps_embedded=True)
        assert run.embedded is not None
        hidden = run.hidden  # (B, T, D)
        has_norm = self.config.norm.is_final
        yield self.logits(self.ln_f(hidden) if has_norm else hidden)  # (B, T, V)
        for module in self.mtp_modules:
            hidden = module(hidden, run.embedded, run.mask, run.rotation)  # (B, T, D)
            yield self.logits(module.ln_f(hidden) if has_norm else hidden)  # (B, T, V)

    def _layers(
        self,
        tokens: Tensor,
        mask: Tensor | None = None,
        cache: KVCache | None = None,
        *,
        keeps_embedded: bool = False,
    ) -> _LayersRun:
        """Run the embedding, whose output may be kept for MTP modules, and the layers; see :meth:`hidden`."""
        start, length = cache.length if cache else 0, tokens.shape[1]
        x = self.embedding(tokens, start)  # (B, T, D)
        embedded = x if keeps_embedded else None
        with_blocks = [None if index is None else (self.shared_blocks[index], x) for index in self._block_of_kind]
        masks = attention_masks(self._kinds, start=start, length=length, device=x.device, dtype=x.dtype, mask=mask)
        rotations = [each.rotation(start, length, dtype=x.dtype) for each in self._rotary_positions]
        rotation_of = [None if index is None else rotations[index] for index in self._rotary_indices]
        caches = iter(cache.extend(length) if cache else repeat(None))  # in the order in which layers run
        inputs = self.embedding.per_layer_inputs(tokens, x)  # n_layers × (B, T, P) or None
        if self.hyper_head is not None:
            x = copied(x, self.hyper_head.n_streams)  # (B, T, n, D)
        x = self.embedding.residual_streams(x)  # (B, T, n, D) with AltUp
        shared: dict[int, SharedKV | SharedSelection] = {}
        shortcut = Shortcut() if self._has_shortcuts else None

        def run(x: Tensor, layer: int) -> Tensor:
            kind = self._kind_of_layer[layer]
            of_layers = self._shared(layer, shared) if self._sources else None
            inside = masks[kind], rotation_of[kind], next(caches), inputs[layer], of_layers, with_blocks[kind]
            output: Tensor = self.blocks[layer](x, *inside, shortcut)
            return output  # (B, T, D)

        if self.loop is not None:
            x = self.loop(x, run, self.ln_f if self.config.norm.is_final else nn.Identity())  # (B, T, D)
        else:
            for layer in range(len(self.blocks)):
                x = run(x, layer)  # (B, T, D)
        if self.hyper_head is not None:
            x = self.hyper_head(x)  # (B, T, D)
        if self.altup_head is not None:
            x = self.altup_head(x)  # (B, T, D)
        last = self._kind_of_layer[-1]
        return _LayersRun(embedded, x, masks[last], rotation_of[last])

    def _shared(self, layer: int, shared: dict[int, SharedKV | SharedSelection]) -> SharedKV | SharedSelection | None:
        """Return the keys and values, or the selected positions, that a layer stores or reads.

        Those that are read for the last time are forgotten.

        Args:
            layer: Index of the layer.
            shared: Those that later layers read, by the layer that stores them.

        Returns:
            None for a layer that shares none.
        """
        source = self._sources.get(layer)
        if source is not None:
            return shared.pop(source) if layer == self._last_readers[source] else shared[source]
        if layer in self._last_readers:
            selects = self._kinds[self._kind_of_layer[layer]].attention.has_indexer
            shared[layer] = SharedSelection() if selects else SharedKV()
        return shared.get(layer)

    def rope_scaling_key(self, length: int) -> tuple[int, ...]:
        """Return a key that identifies the RoPE frequencies at this length; cached keys are valid while it is equal."""
        return tuple(each.scaling_key(length) for each in self._rotary_positions)

    @property
    def _rotary_positions(self) -> tuple[RotaryPosition, ...]:
        return rotary_positions(self.embedding.positional_encoding)

    def generate(
        self,
        start_tokens: Tensor,
        max_new_tokens: int,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
        stop_token: int | None = None,
    ) -> Tensor:
        """Continue each sequence by sampling, in evaluation mode.

        Args:
            start_tokens: Ids (B, T) or (B, T, C) of an integer dtype; only the last max_len tokens are used.
            max_new_tokens: Number of tokens to append, n >= 0.
            temperature: Divides the logits; 0 selects the most likely token.
            top_k: Sample from the k most likely tokens only.
            top_p: Sample from the smallest set of most likely tokens whose probabilities sum to at least p; applied
                after top_k.
            seed: Seed of a new generator; None uses torch's global generator.
            stop_token: Ends a sequence, which is then padded with it; n is smaller once all have ended. With several
                codebooks, all of them must have it at once.

        Returns:
            Ids (B, T + n) or (B, T + n, C), int64, on the device of ``start_tokens``.

        Raises:
            ValueError: If an argument has an invalid type, shape or value, or the model is on meta or has no LM head.
            CapacityError: If the KV cache exceeds this machine's memory.
        """
        sampling = SamplingParams(temperature, top_k, top_p, seed)
        steps = self.stream(start_tokens, max_new_tokens, sampling, stop_token)
        added = [tokens[:, None] for tokens in steps]  # n × (B, 1) or (B, 1, C)
        return torch.cat([start_tokens.long(), *added], dim=1)  # (B, T + n) or (B, T + n, C)

    def stream(
        self,
        start_tokens: Tensor,
        max_new_tokens: int,
        sampling: SamplingParams = SamplingParams(),  # noqa: B008 - immutable
        stop_token: int | None = None,
    ) -> Iterator[Tensor]:
        """Yield the new tokens (B) or (B, C) of each step of :meth:`generate` as soon as they are sampled.

        Errors are raised by the call, not by the first step.
        """
        steps = decode(self, start_tokens, max_new_tokens, sampling=sampling, stop_token=stop_token)
        return (step.tokens for step in steps)

    def extra_repr(self) -> str:
        """Return whether the LM head is tied, or the kind of another head, for ``print(model)``."""
        config = self.config
        return f"tie_weights={config.tie_weights}" if config.has_lm_head else f"head={config.head.kind}"

    def _assemble(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        pattern = layer_pattern(config)
        self._kinds = pattern.kinds
        self._kind_of_layer = tuple(pattern.kind(layer) for layer in range(config.n_layers))
        # by the layer that attends to its keys and values, or to the positions that it selects
        self._sources = {**kv_sources(config), **index_sources(config)}
        self._last_readers = {source: layer for layer, source in self._sources.items()}
        self._has_shortcuts = any(kind.feed_forward.shortcut for kind in pattern.kinds)
        blocks = shared_blocks(config)
        names = list(blocks)
        self._block_of_kind = tuple(
            names.index(kind.block.shared_block) if kind.block.has_shared_block else None for kind in pattern.kinds
        )
        # in the residual stream before each layer: the embedding, and the outputs of earlier layers
        added = (pattern.kinds[kind].block.n_residual_additions for kind in self._kind_of_layer)
        terms = accumulate(added, initial=1)
        rotary = list(rotary_configs(pattern.kinds))
        self._rotary_indices = tuple(
            rotary.index(rotary_key(kind)) if kind.position.kind == "rope" else None for kind in pattern.kinds
        )
        with _gc_paused():
            self.embedding = TransformerEmbedding(config)
            if blocks:
                self.shared_blocks = nn.ModuleList(map(SharedBlock, blocks.values()))
            self.blocks = nn.ModuleList(
                TransformerBlock(pattern.kinds[kind], pattern.names[kind], layer, n_terms)
                for layer, (kind, n_terms) in enumerate(zip(self._kind_of_layer, terms, strict=False))
            )
            self.loop = Loop(config) if config.loop.n_loops is not None else None
            self.hyper_head = StreamReader(config) if config.block.hyper_streams is not None else None
            self.altup_head = StreamMean(config) if config.block.altup_streams is not None else None
            if config.norm.is_final:
                self.ln_f = build_norm(config)
            if config.head.dense:
                self.head_transform = HeadTransform(config)
            if config.head.kind == "lm":
                self.lm_head = Linear(config.d_model, config.embedding_rows, bias=config.head.bias)
                last = self._kind_of_layer[-1]
                if config.head.n_mtp_layers:
                    self.mtp = nn.ModuleList(
                        MultiTokenModule(config, pattern.kinds[last], pattern.names[last], ahead)
                        for ahead in range(1, config.head.n_mtp_layers + 1)
                    )
            elif config.head.kind != "none":
                self.score = Linear(config.d_model, config.head.n_labels, bias=config.head.bias)
        self._tie()
        self.register_load_state_dict_post_hook(_tie_after_load)  # type: ignore[no-untyped-call]  # untyped in torch

    def _tie(self) -> None:
        if self.config.tie_weights:
            self.lm_head.weight = self.embedding.token_embedding.embedding.weight

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:  # noqa: FBT001, FBT002 - torch's signature
        """Convert or move each tensor once, and keep tied weights tied."""
        if self.config.tie_weights:
            self.lm_head.register_parameter("weight", None)
        try:
            super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # untyped in torch
            return self
        finally:
            self._tie()


@contextmanager
def _gc_paused() -> Iterator[None]:
    """Pause the garbage collector, which would take half of the time to build a deep model."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _tie_after_load(model: nn.Module, _: object) -> None:
    """Tie again after ``load_state_dict(assign=True)``, which assigns a separate parameter to each name."""
    assert isinstance(model, TinyTransformerLM)
    model._tie()
