"""The parameter count of each component as a formula with numbers filled in.

Formulas and counts come from the same tensor table, so they cannot disagree. A formula sums the shapes of a component's
tensors; equal terms are merged, as in ``4 × (768 × 768 + 768)``, and equal layers, as in ``12 layers × …``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from tinylm_cli.analysis.loop import loop_parts
from tinylm_cli.analysis.nominal_size import nearest_changes
from tinylm_cli.analysis.params import analyze_params, tied_component
from tinylm_cli.analysis.tensor import COMPONENTS, Tensor
from tinylm_cli.analysis.tensor_table import Section, TensorTable, tensor_table
from tinylm_cli.config.loader import LoadedConfig
from tinylm_cli.quantities import index_ranges
from tinylm_cli.reports.params import ComponentFormula, LoopedLayers, ModelParams, ParamsExplanation


def explain_params(loaded: LoadedConfig) -> ModelParams:
    """Return the parameters of a config with the formula of each component, and changes that reach its nominal size."""
    formulas = tuple(component_formulas(tensor_table(loaded.config)))
    loops = tuple(
        LoopedLayers(index_ranges([part.layers]), part.n_passes)
        for part in loop_parts(loaded.config)
        if part.n_passes > 1
    )
    explanation = ParamsExplanation(formulas, nearest_changes(loaded.config), loops)
    return replace(analyze_params(loaded), explanation=explanation)


def component_formulas(table: TensorTable) -> Iterator[ComponentFormula]:
    """Yield the formula of each component that the model has, in the order of the model."""
    for component in COMPONENTS:
        sections = [(section, [t for t in section.tensors if section.component(t) == component]) for section in table]
        named = [tensor for _, tensors in sections for tensor in tensors]
        if named:
            params = sum(section.repeats * tensor.params for section, tensors in sections for tensor in tensors)
            used = sections if component != "mtp" else []  # inference does not run MTP modules
            active = sum(section.repeats * tensor.active_params for section, tensors in used for tensor in tensors)
            yield ComponentFormula(
                component=component,
                formula=_formula(sections, active=False),
                params=params,
                active_formula=_formula(used, active=True),
                active_params=active,
                modules=tuple(dict.fromkeys(_module(tensor).rpartition(".")[2] for tensor in named)),
                tied_to=tied_component(table, named),
            )


def _formula(sections: Iterable[tuple[Section, Sequence[Tensor]]], *, active: bool) -> str:
    """Return the sum over sections; layers with equal formulas are merged."""
    repeats: dict[tuple[str, str], int] = {}  # keys: formula, and "layer", "module" or "block" if it belongs to one
    for section, tensors in sections:
        stored = [tensor for tensor in tensors if tensor.tied_to is None]
        if stored:
            noun = "layer" if section.layers is not None else "module" if section.n_mtp_layers else ""
            noun = "block" if section.shared_block is not None else noun
            key = (_section(stored, active=active), noun)
            repeats[key] = repeats.get(key, 0) + section.repeats
    parts = []
    for (formula, noun), count in repeats.items():
        if noun or count > 1:
            parts.append(_times(_counted(count, noun) if noun else str(count), formula))
        else:
            parts.append(_grouped(formula) if len(repeats) > 1 else formula)
    return " + ".join(parts) or "0"


def _section(tensors: Sequence[Tensor], *, active: bool) -> str:
    """Return the sum over the modules of one section; routed experts and other modules are separate terms."""
    routed = [tensor for tensor in tensors if tensor.experts_per_token is not None]
    shared = [tensor for tensor in tensors if tensor.experts_per_token is None]
    parts = []
    if routed:
        n_experts, top_k = routed[0].shape[0], routed[0].experts_per_token
        assert top_k is not None
        count = f"{_counted(top_k, 'expert')} per token" if active else _counted(n_experts, "expert")
        parts.append(_times(count, _modules([tensor._replace(shape=tensor.shape[1:]) for tensor in routed])))
    if shared:
        parts.append(_modules(shared))
    return " + ".join(parts)


def _modules(tensors: Sequence[Tensor]) -> str:
    """Return the sum over modules, weights and biases; modules of equal shapes are merged."""
    modules: dict[str, list[Tensor]] = {}
    for tensor in tensors:
        modules.setdefault(_module(tensor), []).append(tensor)
    equal: dict[object, list[str]] = {}
    for parts in modules.values():
        formula = " + ".join(_product(tensor.shape) for tensor in parts)
        equal.setdefault(tuple(tuple(sorted(tensor.shape)) for tensor in parts), []).append(formula)
    return " + ".join(
        _times(str(len(formulas)), formulas[0]) if len(formulas) > 1 else formulas[0] for formulas in equal.values()
    )


def _module(tensor: Tensor) -> str:
    """Return the name of the module that holds the tensor; sinks, which have no module, return their own name."""
    module, _, name = tensor.name.rpartition(".")
    if name not in ("weight", "bias"):
        return tensor.name
    return module.removesuffix(".embedding")  # token_embedding.embedding


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _product(shape: Sequence[int]) -> str:
    return " × ".join(map(str, shape))


def _times(count: str, formula: str) -> str:
    return f"{count} × {_grouped(formula)}"


def _grouped(formula: str) -> str:
    """Return the formula in parentheses if it is a sum."""
    depth = 0
    for index, character in enumerate(formula):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth == 0 and formula.startswith(" + ", index):
            return f"({formula})"
    return formula
