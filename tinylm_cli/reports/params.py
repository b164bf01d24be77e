"""Report of ``tinylm params``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Literal

from tinylm_cli.reports.choices import GgufType
from tinylm_cli.reports.record import Record


class PartParams(Record):
    """One row of a breakdown."""

    # A component (``attention``), a layer (``blocks.0``) or a tensor (``blocks.0.ln_1.weight``). Identical layers are
    # listed once, as ``blocks.{0..5}``.
    name: str
    count: int  # Number of identical layers in the row.
    shape: tuple[int, ...] | None  # The tensor's shape, in a breakdown by tensor; else None.
    params: int  # Parameters of all ``count`` layers together; 0 for a tied tensor.
    share: float  # ``params`` over the model's total, 0 to 1.
    tied_to: str | None  # The tensor or component that stores these parameters, or None.
    layer_kind: str = ""  # Names of the kinds of its layers; empty for other rows, and for kinds without a name.
    # In a breakdown by tensor, the types of the tensor in the checkpoint, such as ``float8`` or ``bfloat16, float8``
    # if only some layers are quantized; else None.
    stored_dtype: str | None = None
    stored_bytes: int | None = None  # Its bytes in all ``count`` layers, with scales and zero points; None as above.


Convention = Literal[
    "unique",
    "untied",
    "non-embedding",
    "active",
    "without-mtp",
    "hub",
    "hub-mtp",
    "hub-tied-head",
    "hub-rotary",
    "hub-masks",
]


class Count(Record):
    """The size of a model by one counting convention."""

    # ``unique``: each stored tensor once. ``untied``: with a separate LM head. ``non-embedding``: without token
    # and per-layer embeddings, learned positions and LM head. ``active``: parameters that one token uses in inference.
    # ``without-mtp``: without multi-token prediction modules. ``hub``: elements of the checkpoint, router corrections
    # included.
    # Checkpoints that store more than parameters: token embedding and LM head again in each multi-token prediction
    # module (``hub-mtp``), the tied head again (``hub-tied-head``), rotary frequencies (``hub-rotary``), causal masks
    # (``hub-masks``).
    convention: Convention
    params: int  # The count.
    difference_params: int  # ``params`` minus the unique count.
    explanation: str  # The cause of the difference.


class StoredSize(Record):
    """Parameters, and the bytes that weights and optimizer take for them."""

    params: int  # Number of parameters.
    params_bytes: int  # ``params`` in the weights' dtype.
    # Adam's state: two float32 moments each, for any dtype of the weights (Kingma and Ba 2015,
    # https://arxiv.org/abs/1412.6980).
    adam_bytes: int


class TyingSavings(Record):
    """Savings from tying the LM head to the token embedding."""

    untied: StoredSize  # If no tensors were tied.
    tied: StoredSize  # Each stored tensor counted once.
    saved: StoredSize  # The difference; 0 if nothing is tied.


class ComponentFormula(Record):
    """The parameter count of one component, as a formula with numbers filled in."""

    component: str  # ``token_embedding``, ``attention``, …
    formula: str  # The sum of the shapes of its tensors: ``12 layers × 4 × (768 × 768 + 768)``; ``0`` if it is tied.
    params: int  # The value of ``formula``.
    active_formula: str  # Formula of the parameters that one token uses; differs from ``formula`` for routed experts.
    active_params: int  # The value of ``active_formula``.
    modules: tuple[str, ...]  # Names of the modules in the formula.
    tied_to: str | None  # The component whose storage it shares, or None.


class SizeChange(Record):
    """A change of one or two fields that reaches the nominal size within 1%."""

    values: Mapping[str, int]  # New value by field.
    total_params: int  # Parameters with the change.
    nominal_error: float  # ``total_params / nominal_params - 1``.


class LoopedLayers(Record):
    """Consecutive layers that run several times for each token, whose parameters count once."""

    layers: str  # Their indices, such as ``4..11``.
    n_passes: int  # How often they run.


class ParamsExplanation(Record):
    """Derivation of a model's parameter count."""

    # One per component, in the order of the model; their ``params`` sum to the total.
    formulas: tuple[ComponentFormula, ...]
    # Smallest changes that reach the nominal size: of one field, then of two. Empty if the size is within 1%, or if the
    # config has no nominal size.
    nominal_changes: tuple[SizeChange, ...]
    loops: tuple[LoopedLayers, ...]  # Layers that run several times for each token; empty without a loop.


class OtherPart(Record):
    """A part of a multimodal model other than its language model."""

    name: str  # ``vision_encoder`` or ``projector``.
    params: int  # Its parameters.


class StoredType(Record):
    """The parameters that a checkpoint stores in one type."""

    dtype: str  # The type, such as ``bfloat16``, ``int4`` or ``q4_k``.
    params: int  # Number of parameters.
    stored_bytes: int  # Their bytes, with scales and zero points.


class StoredWeights(Record):
    """How the checkpoint stores the weights, as the block ``storage`` of the config describes it."""

    dtype: str  # Data type of the weights that are not quantized.
    quantization: str  # Data type of quantized weights, ``gguf`` for several types of a GGUF file, or ``none``.
    quantized_params: int  # Number of quantized parameters.
    stored_bytes: int  # All parameters, with scales and zero points; without buffers.
    is_stated: bool  # Whether these are other types than the default, bfloat16.
    types: tuple[StoredType, ...]  # The parameters by type, most bytes first.
    # Parts of the ``quantization_config`` of a config.json that are not understood; their weights count in ``dtype``.
    unread: tuple[str, ...] = ()


class GgufTensors(Record):
    """The tensors of one type in a GGUF file."""

    type: str  # Their type, such as ``Q6_K``.
    n_tensors: int  # Their number.
    params: int  # Their values.
    tensor_bytes: int  # Their bytes, with the scales of each block.


class GgufFile(Record):
    """The size of a model as a GGUF file of one type."""

    type: GgufType  # The type as ``llama-quantize`` names it, such as ``Q4_K_M``.
    tensor_bytes: int  # Bytes of all tensors.
    padding_bytes: int  # Bytes between them: each begins at a multiple of 32.
    bits_per_weight: float  # ``8 * tensor_bytes`` over the values of all tensors.
    importance_matrix: bool  # Whether it is quantized with an importance matrix, which some types need.
    tensors: tuple[GgufTensors, ...]  # By type, the one with the most bytes first.


class GgufSizes(Record):
    """The sizes of a model's GGUF files, without their headers: metadata, and the tokens of the vocabulary."""

    # ``general.architecture`` of the files; None if no architecture of llama.cpp is known to store the model, whose
    # tensors then count by the rules for tensors of their kind.
    architecture: str | None
    files: tuple[GgufFile, ...]  # The requested types.


class LoraModuleParams(Record):
    """The adapters of modules that differ in their layer only."""

    name: str  # The module, as its family names it: ``model.layers.{0..31}.self_attn.q_proj``.
    count: int  # Number of such modules.
    n_experts: int  # Matrices of each, with an adapter each; 1 but for the stacked weights of experts.
    d_in: int  # Input dimensions of the module; rows of an embedding.
    d_out: int  # Output dimensions of the module.
    rank: int  # Rank of the adapters.
    params: int  # Trained parameters of all ``count`` adapters: ``rank × (d_in + d_out)`` each.
    share: float  # ``params`` over all trained parameters, 0 to 1.


class LoraTensor(Record):
    """A tensor of the adapters, by the name in the file of peft; with ``count`` layers, one of each."""

    name: str  # ``base_model.model.model.layers.{0..31}.self_attn.q_proj.lora_A.weight``.
    count: int  # Number of such tensors.
    shape: tuple[int, ...]  # Shape of each.
    params: int  # Parameters of all ``count`` tensors.


class LoraParams(Record):
    """The trained parameters of a model with adapters; all others are frozen."""

    source: str  # The adapter_config.json; else the option or the argument with the settings.
    rank: int  # ``r``; some modules may have another rank.
    trainable_params: int  # Parameters of adapters, copies and biases that are trained.
    total_params: int  # Parameters of the model, its adapters and the copies of modules.
    trainable_share: float  # ``trainable_params / total_params``, as peft prints it.
    adapter_params: int  # Parameters of the adapters.
    saved_params: int  # Parameters of ``modules_to_save``, of which a copy is trained, and of trained token rows.
    bias_params: int  # Trained biases of the model.
    adapter_bytes: int  # Size of the adapter's file in float32, as peft stores it, without its header.
    modules: tuple[LoraModuleParams, ...]  # By module, in the order of the model.
    tensors: tuple[LoraTensor, ...]  # In a breakdown by tensor; else empty.
    # Sentences about adapters whose rank is above that of their matrix.
    notes: tuple[str, ...] = ()


class ModelParams(Record):
    """The parameters of one model."""

    name: str  # The preset's name or the file's stem.
    source: str  # Preset name, path as given, or ``<stdin>``.
    total_params: int  # Each stored tensor counted once.
    # Parameters that one token uses in inference: routed experts count top_k of n_experts, multi-token prediction
    # modules none. Without either, ``total_params``.
    active_params: int
    embedding_params: int  # Token and per-layer embeddings, learned positions and an untied LM head.
    non_embedding_params: int  # All others.
    nominal_params: int | None  # The nominal size in the config, or None.
    nominal_error: float | None  # ``total_params / nominal_params - 1``, or None.
    params_bytes: int  # ``total_params`` in ``dtype``.
    dtype: str  # Data type that the byte counts assume.
    # By component, in the order of the model, from the token embedding to the LM head and MTP modules; shares sum to 1.
    components: tuple[PartParams, ...]
    parts: tuple[PartParams, ...]  # By layer or by tensor, if requested; else empty.
    tying: TyingSavings  # Savings from tying the LM head to the token embedding.
    counts: tuple[Count, ...]  # The model's size by every convention; ``total_params`` is the unique one.
    storage: StoredWeights  # How the checkpoint stores the weights.
    explanation: ParamsExplanation | None = None  # Formulas of the count, if requested; else None.
    # Parts of a multimodal model that are counted, but are not in ``total_params``; empty for a language model alone.
    other_parts: tuple[OtherPart, ...] = ()
    # Keys of a Hugging Face config.json that were left out, each with the reason: ``requested``, or
    # ``no_effect_here`` for a key that is not understood and changes no figure of this report.
    ignored_keys: Mapping[str, str] = field(default_factory=dict)
    gguf: GgufSizes | None = None  # Sizes of GGUF files, if requested; else None.
    lora: LoraParams | None = None  # The adapters that are trained, if any are requested; else None.


class ParamsReport(Record):
    """Parameters of one or more models."""

    models: tuple[ModelParams, ...]  # The requested model; without one, every preset, in the order of ``tinylm list``.
