"""Low-rank adapters (LoRA): what an ``adapter_config.json`` of peft asks for, and the adapters of one model.

References:
    Hu et al. 2021 (LoRA), section 4.1, https://arxiv.org/abs/2106.09685;
    https://huggingface.co/docs/peft/package_reference/lora
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Literal, NamedTuple

from tinylm_cli.errors import Span

ALL_LINEAR = "all-linear"
"""The value of ``target_modules`` that selects every linear module but the head."""

TrainedBiases = Literal["none", "all", "lora_only"]


class Name(NamedTuple):
    """A name or a pattern of modules, and its position."""

    text: str
    span: Span


class LoraConfig(NamedTuple):
    """The settings of an ``adapter_config.json``, before its names are looked up in a model."""

    source: str  # Name of the file, or of the argument.
    rank: int
    # Names of modules; None if ``target_pattern`` selects them.
    target_modules: tuple[Name, ...] | None
    target_pattern: Name | None = None  # A regular expression that full names match, or ``all-linear``.
    exclude_modules: tuple[Name, ...] = ()
    exclude_pattern: Name | None = None
    target_parameters: tuple[Name, ...] = ()  # Names of tensors, such as the stacked weights of experts.
    layers_to_transform: tuple[int, ...] = ()  # Indices of layers; empty for all.
    layers_pattern: tuple[Name, ...] = ()  # Names of lists of layers, before the index.
    rank_pattern: tuple[tuple[Name, int], ...] = ()  # Ranks of the modules whose names end with a pattern.
    modules_to_save: tuple[Name, ...] = ()  # Modules of which a full copy is trained.
    token_indices: tuple[tuple[Name, int], ...] = ()  # Embeddings of which some rows are trained, with their number.
    bias: TrainedBiases = "none"
    dropout: float = 0.0
    use_dora: bool = False
    lora_bias: bool = False
    ensure_weight_tying: bool = False
    base_model: str = ""  # Name or path of the base model; empty if none is stated.


class LoraModule(NamedTuple):
    """A low-rank adapter: the module or tensor that it belongs to, and its size."""

    name: str  # Full name of the module, or of the tensor if ``kind`` is ``parameter``.
    kind: Literal["linear", "embedding", "parameter"]
    modules: tuple[str, ...]  # The modules of tinylm that it is stored as one with, by full name.
    layer: int | None  # Index of its layer; None outside the layers.
    d_in: int
    d_out: int
    rank: int = 0
    n_experts: int = 1  # Matrices in the tensor, each with an adapter of its own.
    bias_params: int = 0  # Elements of the bias of the module itself.
    depth: int = 0  # Adapters of other tensors of the same module that wrap this one.

    @property
    def params(self) -> int:
        """Parameters of A, (r·E, in), and of B, (out, r·E)."""
        return self.rank * self.n_experts * (self.d_in + self.d_out)

    @property
    def weight_params(self) -> int:
        """Parameters of the frozen weight."""
        return self.n_experts * self.d_in * self.d_out


class SavedModule(NamedTuple):
    """A part of the base model of which a copy is trained in full: a module, or some rows of an embedding."""

    name: str
    shapes: tuple[tuple[str, tuple[int, ...]], ...]  # Its tensors, by name.
    is_head: bool = False  # Whether it is the LM head, or the scores of labels.

    @property
    def params(self) -> int:
        """Parameters of the copy."""
        return sum(prod(shape) for _, shape in self.shapes)


@dataclass(frozen=True, eq=False)  # compared and hashed by identity, which is fast with thousands of modules
class Lora:
    """The adapters of one model."""

    config: LoraConfig
    modules: tuple[LoraModule, ...]
    saved: tuple[SavedModule, ...]
    bias_params: int  # Biases of the base model that are trained.

    @property
    def extra_per_module(self) -> Literal[0, 1, 2]:
        """How many vectors of ``d_out`` elements an adapter has: DoRA's magnitudes, and a bias of B."""
        return int(self.config.use_dora) + int(self.config.lora_bias)  # type: ignore[return-value]

    def module_params(self, module: LoraModule) -> int:
        """Return the trained parameters of one adapter."""
        return module.params + self.extra_per_module * module.d_out

    @property
    def adapter_params(self) -> int:
        """Parameters of all adapters."""
        return sum(self.module_params(module) for module in self.modules)

    @property
    def saved_params(self) -> int:
        """Parameters of the copies of modules that are trained in full."""
        return sum(each.params for each in self.saved)

    @property
    def trainable_params(self) -> int:
        """All trained parameters."""
        return self.adapter_params + self.saved_params + self.bias_params

    @property
    def trains_head(self) -> bool:
        """Whether a copy of the head is trained."""
        return any(each.is_head for each in self.saved)

    @property
    def leaf_names(self) -> tuple[str, ...]:
        """The last parts of the names of the adapted modules, in order: ``q_proj``, ``v_proj``."""
        return tuple(dict.fromkeys(module.name.rpartition(".")[2] for module in self.modules))

    def tensors(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Yield the name and shape of each tensor of the adapters and copies, as peft stores them."""
        for module in self.modules:
            yield from self._module_tensors(module)
        for saved in self.saved:
            yield from ((f"{PREFIX}{name}", shape) for name, shape in saved.shapes)

    def _module_tensors(self, module: LoraModule) -> Iterator[tuple[str, tuple[int, ...]]]:
        rank = module.rank * module.n_experts
        shapes = {"A": (rank, module.d_in), "B": (module.d_out, rank)}
        owner = module.name.rpartition(".")[0] if module.kind == "parameter" else module.name
        name = f"{PREFIX}{owner}{'.base_layer' * module.depth}"
        if module.kind == "embedding":
            yield from ((f"{name}.lora_embedding_{part}", shape) for part, shape in shapes.items())
            return
        yield from ((f"{name}.lora_{part}.weight", shape) for part, shape in shapes.items())
        if self.config.lora_bias:
            yield f"{name}.lora_B.bias", (module.d_out,)
        if self.config.use_dora:
            yield f"{name}.lora_magnitude_vector", (module.d_out,)


PREFIX = "base_model.model."
"""The beginning of the names of tensors in files of peft."""
