"""Training and serving setups: one record each, built once from the options.

All defaults are defined here. The GPU is a separate record, ``config.hardware.Accelerator``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from tinylm_cli.analysis.dtypes import DTYPE_BYTES, HALF_PRECISION
from tinylm_cli.config.choices import DEFAULT_DTYPE
from tinylm_cli.errors import AnalysisError

if TYPE_CHECKING:
    from tinylm_cli.config.lora import Lora
    from tinylm_cli.config.schema import ModelConfig
    from tinylm_cli.reports.choices import AttentionKernel, Device, Optimizer, Quantization, Recompute
    from tinylm_cli.reports.plan import Layout

TYPICAL_UTILIZATION = 0.40
"""MFU. Llama 3 405B reached 38 to 43% on 8,192 to 16,384 H100s in bfloat16 (Grattafiori et al. 2024, table 4,
https://arxiv.org/abs/2407.21783). PaLM 540B, whose paper defines MFU, reached 46.2% on 6,144 TPU v4 (Chowdhery et al.
2022, section 4.1, https://arxiv.org/abs/2204.02311). Small models and slow links reach less."""

KERNEL_EFFICIENCY = 0.55
"""Share of the dense peak that a GPU reaches while it computes a layer, including norms and activations. Communication
and pipeline bubbles are counted separately. The value reproduces the utilization of Llama 3 405B on H100s (Grattafiori
et al. 2024, table 4, https://arxiv.org/abs/2407.21783). The published runs in docs/costs.md correspond to 0.47 to
0.72; wider models need larger values."""

PREFILL_TOKENS = 8192
"""The default ``max_num_tokens`` of TensorRT-LLM.

References:
    https://nvidia.github.io/TensorRT-LLM/performance/performance-tuning-guide/tuning-max-batch-size-and-max-num-tokens.html
"""


class TrainingSetup(NamedTuple):
    """A training run.

    Attributes:
        batch_size: Micro-batch size: sequences per pass on one GPU, >= 1.
        seq_len: Tokens per sequence; the model's max_len when None.
        dtype: Data type of weights and activations, a key of ``DTYPE_BYTES``.
        attention_kernel: Attention kernel; ``sdpa`` is the one that tinylm's own model uses.
        device: Device that runs the kernels.
        recompute: Activations that the backward pass recomputes.
        optimizer: The optimizer.
        grad_dtype: Data type of gradients; ``dtype`` when None.
        master_weights: Whether the optimizer updates a float32 copy of the weights; None: only with 16-bit dtypes.
        n_gpus: GPUs that train the model together.
        layout: Parallel layout; None searches for the fastest layout that fits.
        derives_micro_batches: Whether global_batch_size determines the layout's micro_batches.
        global_batch_size: Sequences per optimizer step, over all GPUs; about 4M tokens when None.
        train_tokens: Tokens to train on; the compute-optimal number when None.
        utilization: MFU of training on one GPU; with several GPUs the plan determines it.
        kernel_efficiency: Share of the peak that each of several GPUs reaches while it computes.
        usd_per_gpu_hour: Price of one GPU hour; None if unknown.
        lora: The adapters that are trained on frozen weights; None to train all weights.
        quantization: Quantization of the frozen weights; when None, that of the config's storage. It has no effect
            without adapters.
    """

    batch_size: int = 1
    seq_len: int | None = None
    dtype: str = DEFAULT_DTYPE
    attention_kernel: AttentionKernel = "flash"
    device: Device = "cuda"
    recompute: Recompute = "none"
    optimizer: Optimizer = "adamw"
    grad_dtype: str | None = None
    master_weights: bool | None = None
    n_gpus: int = 1
    layout: Layout | None = None
    derives_micro_batches: bool = False
    global_batch_size: int | None = None
    train_tokens: int | None = None
    utilization: float = TYPICAL_UTILIZATION
    kernel_efficiency: float = KERNEL_EFFICIENCY
    usd_per_gpu_hour: float | None = None
    lora: Lora | None = None
    quantization: QuantizationConfig | None = None

    def length(self, config: ModelConfig) -> int:
        """Return the tokens per sequence."""
        return config.max_len if self.seq_len is None else self.seq_len

    @property
    def has_master_weights(self) -> bool:
        """Whether the optimizer updates a float32 copy of the weights."""
        return self.dtype in HALF_PRECISION if self.master_weights is None else self.master_weights

    @property
    def element_bytes(self) -> int:
        """Bytes of one weight, and of one element of an activation."""
        return DTYPE_BYTES[self.dtype]

    @property
    def grad_element_bytes(self) -> int:
        """Bytes of one element of a gradient."""
        return DTYPE_BYTES[self.grad_dtype or self.dtype]

    @property
    def one_pass(self) -> TrainingSetup:
        """The same pass on a single GPU: equal for setups that differ only in the division of work among GPUs."""
        return self._replace(n_gpus=1, layout=None, derives_micro_batches=False, global_batch_size=None)


class QuantizationConfig(NamedTuple):
    """How weights are quantized for inference.

    Attributes:
        method: Data type of quantized linear weights, or ``none``.
        group_size: int4: weights that share a scale and a zero point, >= 1.
        head: Whether the LM head is quantized too; a tied head then no longer shares the embedding's storage.
    """

    method: Quantization = "none"
    group_size: int = 128
    head: bool = False


UNQUANTIZED = QuantizationConfig()
"""No weight is quantized."""


class ServingSetup(NamedTuple):
    """How one GPU serves a model.

    Attributes:
        batch_size: Sequences decoded together, >= 1.
        seq_len: Tokens that the KV cache holds per sequence; the model's max_len when None.
        dtype: Data type of activations and of unquantized weights, a key of ``DTYPE_BYTES``; when None, that of the
            config's storage.
        cache_dtype: Data type of the KV cache, as for :func:`kv_cache_bytes`; when None, that of the config's storage,
            else ``dtype``.
        quantization: Weight quantization; when None, that of the config's storage.
        attention_kernel: Attention kernel; ``sdpa`` is the one that tinylm's own model uses.
        device: Device that runs the kernels.
        prefill_tokens: Maximum prompt tokens per pass (chunked prefill), >= 1.
        batch_sizes: Batch sizes of the serving table; the defaults when empty.
        seq_lens: Sequence lengths of the serving table; the defaults when empty.
    """

    batch_size: int = 1
    seq_len: int | None = None
    dtype: str | None = None
    cache_dtype: str | None = None
    quantization: QuantizationConfig | None = None
    attention_kernel: AttentionKernel = "flash"
    device: Device = "cuda"
    prefill_tokens: int = PREFILL_TOKENS
    batch_sizes: tuple[int, ...] = ()
    seq_lens: tuple[int, ...] = ()

    def length(self, config: ModelConfig) -> int:
        """Return the tokens that the KV cache holds per sequence."""
        return config.max_len if self.seq_len is None else self.seq_len

    def resolved(self, config: ModelConfig) -> ServingSetup:
        """Return the setup with each data type that is None taken from the config's storage."""
        dtype = self.dtype or config.storage.dtype
        return self._replace(dtype=dtype, cache_dtype=self.cache_dtype or config.storage.kv_cache_dtype or dtype)

    @property
    def compute_dtype(self) -> str:
        """Data type of activations and of unquantized weights in a resolved setup, or without a config."""
        return self.dtype or DEFAULT_DTYPE

    @property
    def kv_cache_dtype(self) -> str:
        """Data type of the KV cache in a resolved setup, or without a config."""
        return self.cache_dtype or self.compute_dtype


SHARED_FIELDS = ("batch_size", "seq_len", "dtype")
"""Fields of both setups; a budget may state each of them once for both."""


class Setups(NamedTuple):
    """The conditions on which figures depend in addition to the config.

    Attributes:
        training: How it is trained.
        serving: How it is served.
    """

    training: TrainingSetup = TrainingSetup()
    serving: ServingSetup = ServingSetup()

    @classmethod
    def of(cls, **fields: Any) -> Setups:
        """Return default setups with ``fields`` set in each setup that has them."""
        return cls().changed(**fields)

    def changed(self, **fields: Any) -> Setups:
        """Return these setups with ``fields`` changed in each setup that has them."""
        known = {*TrainingSetup._fields, *ServingSetup._fields}
        assert fields.keys() <= known, f"neither setup has {sorted(fields.keys() - known)}"
        return Setups(
            self.training._replace(**{name: fields[name] for name in TrainingSetup._fields if name in fields}),
            self.serving._replace(**{name: fields[name] for name in ServingSetup._fields if name in fields}),
        )


def check_sizes(config: ModelConfig, setup: TrainingSetup | ServingSetup) -> None:
    """Check that batch size and sequence length are in range.

    Raises:
        AnalysisError: If batch_size is below 1, or seq_len outside 1..max_len.
    """
    if setup.batch_size < 1:
        message = f"batch_size must be at least 1, not {setup.batch_size}"
        raise AnalysisError(message, help="give a batch_size of 1 or more")
    check_length(config, setup.length(config))


def check_length(config: ModelConfig, length: int, name: str = "seq_len") -> None:
    """Check that a length is in range; ``name`` is its name in the error message.

    Raises:
        AnalysisError: If it is outside 1..max_len.
    """
    if not 1 <= length <= config.max_len:
        remedy = f"at most {config.max_len:,}; or change the model to max_len={length}" if length > 0 else "1 or more"
        raise AnalysisError(
            f"{name} {length:,} is outside 1..{config.max_len:,}: the model's max_len is {config.max_len:,}",
            help=f"give a {name} of {remedy}",
        )
