"""Look up the modules that a LoRA adapter names in a model, as peft 0.21 does.

References:
    https://github.com/huggingface/peft/blob/main/src/peft/tuners/tuners_utils.py, ``check_target_module_exists``;
    https://github.com/huggingface/peft/blob/main/src/peft/utils/transformers_weight_conversion.py
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import prod
from typing import NamedTuple

from tinylm_cli.config.diagnostic_codes import clip, config_error, diagnostic
from tinylm_cli.config.layer_kinds import shared_blocks
from tinylm_cli.config.loader import LoadedConfig
from tinylm_cli.config.lora import ALL_LINEAR, Lora, LoraConfig, LoraModule, Name, SavedModule
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.config.similar_names import suggest
from tinylm_cli.errors import AnalysisError, Diagnostic, UnableError
from tinylm_cli.interop.heads import tensor_names_of
from tinylm_cli.interop.lora_modules import MIXTRAL_NAMES, container_names, family_modules, own_modules
from tinylm_cli.interop.tensor_names import EMBEDDING, TensorNames, replace_prefix
from tinylm_cli.interop.tensor_pairs import Shape, tensor_pairs

_MIXTRAL = frozenset(["mixtral", "minimax", "minimax_m2"])
_QWEN2_MOE = frozenset(
    [
        *("afmoe", "beam", "cohere2_moe", "deepseek_v2", "deepseek_v3", "deepseek_v32", "dots1", "ernie4_5_moe"),
        *("exaone_moe", "flex_olmo", "glm4_moe", "glm4_moe_lite", "glm_moe_dsa", "hunyuan_v1_moe", "longcat_flash"),
        *("mellum", "olmoe", "qwen2_moe", "qwen3_moe", "qwen3_next", "sarvam_mla", "solar_open"),
    ]
)
_FUSED_OUTPUT = frozenset(["falcon_h1", "falcon_mamba", "mamba", "mamba2", "nemotron_h"])
"""The families in which peft rejects adapters of ``out_proj``."""

_MIXTRAL_TARGETS = {"gate": "gate.weight", "w1": "gate_up_proj", "w3": "gate_up_proj", "w2": "down_proj"}
_QWEN2_MOE_TARGETS = {
    "gate": "gate.weight",
    "gate_proj": "gate_up_proj",
    "up_proj": "gate_up_proj",
    "down_proj": "down_proj",
}
"""Names of modules that peft reads as names of tensors: transformers 5 has no module for each expert."""

HEADS = ("lm_head", "score")
"""The modules of the head, by tinylm's names."""

_MAX_NAMED = 12

Modules = Sequence[LoraModule]


class _Model(NamedTuple):
    """The modules of a model, and the names that they may have."""

    config: ModelConfig
    family: str  # ``model_type`` of its family; empty if no family can express it.
    modules: Modules  # As the family names them; as tinylm does if there is no family.
    own: Modules  # As tinylm names them, for a config in tinylm's own words; else empty.
    prefix_maps: tuple[dict[str, str], ...]  # Prefixes of names, mapped to those in a larger model.
    tensors: Mapping[str, Shape]  # Shape of each parameter by name, for modules that are trained in full.

    def spellings(self, name: str) -> tuple[str, ...]:
        """Return the names that a module has in this model and in larger ones."""
        return (name, *(replace_prefix(each, name) for each in self.prefix_maps))


def resolve_lora(lora: LoraConfig, loaded: LoadedConfig, shapes: Mapping[str, Shape]) -> Lora:
    """Return the adapters of a model.

    Args:
        lora: The settings of the adapters.
        loaded: The model.
        shapes: Shape of each model tensor by full name; a tied tensor under its first name only.

    Raises:
        ConfigError: If a name is not that of a module; points at it.
        AnalysisError: If the model has too many tensors, or blocks that several layers share.
    """
    if shared_blocks(loaded.config):
        message = "adapters of blocks that layers share are not counted"
        raise AnalysisError(message, help="name a model without shared blocks")
    model, errors = _model(loaded, shapes), list[Diagnostic]()
    modules = _targeted(lora, model, errors)
    errors += _unsupported(lora, modules)
    errors += _inside_fused_kernels(lora, model, modules)
    saved = [*_saved(lora, model, errors), *_trained_rows(lora, model, errors)]
    if errors:
        raise config_error(errors)
    if not modules:
        message = "the adapter belongs to no module"
        names = ", ".join(_leaf_names(model.modules))
        field = "target_modules" if lora.target_pattern or lora.target_modules else "target_parameters"
        place = lora.target_pattern or next(iter((*(lora.target_modules or ()), *lora.target_parameters)), None)
        span = place.span if place is not None else None
        remedy = f"the modules of this model are {names}"
        raise config_error([diagnostic("unknown-choice", message, lora.source, span, field=field, help=remedy)])
    modules = [module._replace(rank=_rank(lora, model, module)) for module in modules]
    return Lora(lora, tuple(_nested(modules)), tuple(saved), _trained_biases(lora, model, modules))


def _model(loaded: LoadedConfig, shapes: Mapping[str, Shape]) -> _Model:
    config, tied = loaded.config, loaded.config.tie_weights
    own = own_modules(shapes, tied=tied)
    family = loaded.family or _expressed_by(config)
    if not family:
        return _Model(config, "", own, (), (), _with_tied_head(shapes, "lm_head", shapes, config))
    names = tensor_names_of(family, config)
    renamed = MIXTRAL_NAMES if family in _MIXTRAL else {}
    modules = family_modules(config, names, shapes, renamed)
    tensors = _with_tied_head(_family_tensors(config, names, shapes), names.top_level.get("lm_head"), shapes, config)
    return _Model(config, family, modules, () if loaded.family else own, names.prefix_maps, tensors)


def _expressed_by(config: ModelConfig) -> str:
    """Return the family whose names a tinylm config has; empty if no family can express it."""
    from tinylm_cli.interop.export_config import express

    try:
        return express(config).family
    except UnableError:
        return ""


def _family_tensors(config: ModelConfig, names: TensorNames, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
    """Return the shape of each parameter by its stored name; buffers, which are not trained, are left out."""
    return {
        pair.stored: pair.stored_shape
        for pair in tensor_pairs(config, names, shapes)
        if not pair.parts[0].name.endswith("score_correction")
    }


def _with_tied_head(
    tensors: Mapping[str, Shape], head: str | None, shapes: Mapping[str, Shape], config: ModelConfig
) -> Mapping[str, Shape]:
    if not config.tie_weights or head is None:
        return tensors
    return {**tensors, f"{head}.weight": shapes[f"{EMBEDDING}.weight"]}


def _unsupported(lora: LoraConfig, modules: Modules) -> Iterator[Diagnostic]:
    """Yield the settings that peft rejects, and a setting that is not supported."""
    others = {module.kind for module in modules} - {"linear"}
    what = "embeddings" if "embedding" in others else "stacked weights of experts"
    for key, is_set in (("use_dora", lora.use_dora), ("lora_bias", lora.lora_bias)):
        if is_set and others:
            message = f"{key} is not supported for {what}"
            yield diagnostic("unsupported-setting", message, lora.source, field=key, help="set it to false")
    if lora.use_dora and lora.lora_bias:
        message = "lora_bias cannot be combined with use_dora"
        yield diagnostic("contradiction", message, lora.source, field="lora_bias", help="set one of them to false")
    if lora.ensure_weight_tying:
        message, help_ = "ensure_weight_tying is not supported", "set it to false"
        yield diagnostic("unsupported-setting", message, lora.source, field="ensure_weight_tying", help=help_)


def _inside_fused_kernels(lora: LoraConfig, model: _Model, modules: Modules) -> Iterator[Diagnostic]:
    """Yield a diagnostic if adapters belong to a projection that the kernels of Mamba read themselves."""
    if model.family in _FUSED_OUTPUT and any(_leaf(module.name) == "out_proj" for module in modules):
        targets = (*(lora.target_modules or ()), *([lora.target_pattern] if lora.target_pattern else []))
        named = [each for each in targets if _leaf(each.text) == "out_proj"] or targets
        message = f"peft adds no adapters to out_proj in {model.family}: kernels of Mamba read its weight"
        remedy = "add out_proj to exclude_modules"
        yield diagnostic(
            "unsupported-setting", message, lora.source, named[0].span, field="target_modules", help=remedy
        )


def _leaf(name: str) -> str:
    return name.removesuffix(".weight").rpartition(".")[2]


def _leaf_names(modules: Modules) -> list[str]:
    """Return the last parts of the names of modules, each once."""
    linear = dict.fromkeys(_leaf(module.name) for module in modules if module.kind != "parameter")
    names = list(linear)
    return names if len(names) <= _MAX_NAMED else [*names[:_MAX_NAMED], "…"]


def _ends_with(name: str, target: str) -> bool:
    return name == target or name.endswith(f".{target}")


def _targeted(lora: LoraConfig, model: _Model, errors: list[Diagnostic]) -> list[LoraModule]:
    """Return the modules that adapters belong to, in the order of the model."""
    names, parameters, ranks = _converted(lora, model)
    found: dict[str, LoraModule] = {}
    if lora.target_pattern is not None and names is None:
        modules, matches = _by_pattern(lora.target_pattern, model)
        found |= {module.name: module for module in modules if matches(module)}
        if not found and lora.target_pattern.text != ALL_LINEAR:
            errors.append(_unknown(lora, "target_modules", lora.target_pattern, model.modules))
    for name in names or ():
        matched = _by_name(name.text, model)
        kept = [each for each in matched if _in_layer(lora, name.text, each)]
        found |= {module.name: module for module in kept}
        if not matched and not model.prefix_maps:
            errors.append(_unknown(lora, "target_modules", name, model.modules))
    for name in parameters:
        stacked = [each for each in model.modules if each.kind == "parameter" and _ends_with(each.name, name.text)]
        found |= {module.name: module for module in stacked}
        if not stacked:
            errors.append(_unknown(lora, "target_parameters", name, model.modules, parameters=True))
    excluded = _excluded(lora, model)
    order = {module.name: index for index, module in enumerate((*model.modules, *model.own))}
    kept = [module for module in found.values() if module.kind == "parameter" or not excluded(module)]
    kept = [module._replace(rank=ranks.get(_leaf(module.name), 1)) for module in kept]
    return sorted(kept, key=lambda module: order[module.name])


def _by_pattern(pattern: Name, model: _Model) -> tuple[Modules, Callable[[LoraModule], bool]]:
    """Return the modules among which a pattern selects, and whether it selects one of them."""
    if pattern.text == ALL_LINEAR:
        return model.modules, lambda module: module.kind == "linear" and module.modules[0] not in HEADS
    compiled = re.compile(pattern.text)

    def matches(module: LoraModule) -> bool:
        is_module = module.kind != "parameter"
        return is_module and any(compiled.fullmatch(name) for name in model.spellings(module.name))

    is_theirs = any(map(matches, model.modules))
    return (model.modules if is_theirs or not model.own else model.own), matches


def _by_name(name: str, model: _Model) -> list[LoraModule]:
    """Return the modules that a name selects: by the names of the family or, if it has none such, by tinylm's."""
    for modules in (model.modules, model.own):
        found = [
            module
            for module in modules
            if module.kind != "parameter" and any(_ends_with(each, name) for each in model.spellings(module.name))
        ]
        if found:
            return found
    return []


def _in_layer(lora: LoraConfig, target: str, module: LoraModule) -> bool:
    """Return whether ``layers_to_transform`` contains the layer of a module; a full name needs no layer."""
    if not lora.layers_to_transform or module.name == target:
        return True
    patterns = [re.escape(each.text) for each in lora.layers_pattern] or [r"[^.]*"]
    for pattern in patterns:
        match = re.match(rf"(?:^|.*?\.){pattern}\.(\d+)\.", module.name)
        if match is not None:
            return int(match[1]) in lora.layers_to_transform
    return False


def _excluded(lora: LoraConfig, model: _Model) -> Callable[[LoraModule], bool]:
    """Return a function that tells whether no adapter may belong to a module."""
    pattern = re.compile(lora.exclude_pattern.text) if lora.exclude_pattern is not None else None
    names = tuple(each.text for each in lora.exclude_modules)
    saved = tuple(each.text for each in lora.modules_to_save)

    def is_excluded(module: LoraModule) -> bool:
        name = module.name
        by_pattern = pattern is not None and any(pattern.fullmatch(each) for each in model.spellings(name))
        by_name = any(_ends_with(name, each) for each in names)
        return by_pattern or by_name or any(f".{each}." in f".{name}." for each in saved)

    return is_excluded


def _unknown(lora: LoraConfig, field: str, name: Name, modules: Modules, *, parameters: bool = False) -> Diagnostic:
    """Return the diagnostic of a name that no module or tensor has."""
    noun = "tensor that an adapter can belong to" if parameters else "linear module or embedding"
    of_kind = [module for module in modules if (module.kind == "parameter") == parameters]
    known = list(dict.fromkeys(_leaf(module.name) for module in of_kind))
    if len(known) > _MAX_NAMED:
        known = [*known[:_MAX_NAMED], "…"]
    meant = suggest(_leaf(name.text), known)
    listed = f"the names are {', '.join(known)}" if known else "this model has none"
    remedy = f"did you mean {meant}? {listed}" if meant else listed
    message = f"{field} {clip(name.text)}: no {noun} of this model has this name"
    return diagnostic("unknown-choice", message, lora.source, name.span, field=field, help=remedy)


def _converted(lora: LoraConfig, model: _Model) -> tuple[tuple[Name, ...] | None, tuple[Name, ...], dict[str, int]]:
    """Return the names of modules and of tensors, and a factor of the rank by tensor.

    In some families peft reads the names of the projections of experts, and of the router, as the names of tensors. The
    tensor of gate and up projections then has the rank of both.
    """
    names, parameters = lora.target_modules, list(lora.target_parameters)
    targets = _expert_targets(model.family)
    has_experts = any(module.kind == "parameter" for module in model.modules)
    if targets is None or not has_experts:
        return names, tuple(parameters), {}
    if lora.target_pattern is not None:
        names = _resolved(lora.target_pattern, model, targets)
    kept: list[Name] = []
    fused = set()
    for name in names or ():
        old = next((each for each in targets if _ends_with(name.text, each)), None)
        if old is None:
            kept.append(name)
            continue
        parameters.append(Name(targets[old], name.span))
        if targets[old] == "gate_up_proj":
            fused.add(old)
    unique = tuple({each.text: each for each in parameters}.values())
    return (None if names is None else tuple(kept)), unique, {"gate_up_proj": len(fused)} if len(fused) > 1 else {}


def _expert_targets(family: str) -> Mapping[str, str] | None:
    """Return the names of modules that peft reads as names of tensors in a family; None if it reads none so."""
    if family in _MIXTRAL:
        return _MIXTRAL_TARGETS
    return _QWEN2_MOE_TARGETS if family in _QWEN2_MOE else None


def _resolved(pattern: Name, model: _Model, targets: Mapping[str, str]) -> tuple[Name, ...]:
    """Return the last parts of the names that a pattern selects, experts and routers among them."""
    modules, matches = _by_pattern(pattern, model)
    leaves = dict.fromkeys(_leaf(module.name) for module in modules if matches(module))
    if pattern.text == ALL_LINEAR:
        leaves |= dict.fromkeys(targets)
    else:
        compiled = re.compile(pattern.text)
        containers = {each.name.rpartition(".")[0] for each in model.modules if each.kind == "parameter"}
        for old in targets:
            if any(compiled.fullmatch(f"{container}.{old}") for container in containers):
                leaves[old] = None
    return tuple(Name(leaf, pattern.span) for leaf in leaves)


def _rank(lora: LoraConfig, model: _Model, module: LoraModule) -> int:
    """Return the rank of an adapter: of the first pattern that the end of its name matches, else ``r``."""
    for pattern, rank in lora.rank_pattern:
        if any(re.match(rf"(.*\.)?({pattern.text})$", name) for name in model.spellings(module.name)):
            return rank
    return lora.rank * max(module.rank, 1)


def _nested(modules: Iterable[LoraModule]) -> Iterator[LoraModule]:
    """Yield the adapters with the number of adapters around each: those of the later tensors of its module."""
    listed = list(modules)
    owners = [each.name.rpartition(".")[0] if each.kind == "parameter" else each.name for each in listed]
    for index, module in enumerate(listed):
        yield module._replace(depth=owners[index + 1 :].count(owners[index]) if module.kind == "parameter" else 0)


def _saved(lora: LoraConfig, model: _Model, errors: list[Diagnostic]) -> Iterator[SavedModule]:
    """Yield the modules that ``modules_to_save`` names, also by the last letters of a name, as peft reads it."""
    names = list(container_names(name.rpartition(".")[0] for name in model.tensors))
    heads = {module.name for module in model.modules if module.modules[0] in HEADS}
    taken: list[str] = []
    for each in lora.modules_to_save:
        found = [name for name in names if name.endswith(each.text)]
        if not found:
            known = list(dict.fromkeys(name.rpartition(".")[2] for name in names))
            meant = suggest(each.text, known)
            message = f"modules_to_save {clip(each.text)}: no module of this model has this name"
            remedy = f"did you mean {meant}?" if meant else "for example lm_head or embed_tokens"
            field = "modules_to_save"
            errors.append(diagnostic("unknown-choice", message, lora.source, each.span, field=field, help=remedy))
        for name in found:
            if not any(f"{name}.".startswith(f"{outer}.") for outer in taken):
                taken.append(name)
                tensors = {key: shape for key, shape in model.tensors.items() if key.startswith(f"{name}.")}
                yield SavedModule(name, tuple(tensors.items()), is_head=name in heads)


def _trained_rows(lora: LoraConfig, model: _Model, errors: list[Diagnostic]) -> Iterator[SavedModule]:
    """Yield the rows of embeddings that ``trainable_token_indices`` names."""
    for name, n_rows in lora.token_indices:
        embeddings = [each for each in model.modules if each.modules[0] == EMBEDDING or each.modules[0] == "lm_head"]
        found = [each for each in embeddings if not name.text or each.name.endswith(name.text)][:1]
        if not found:
            errors.append(_unknown(lora, "trainable_token_indices", name, embeddings))
        for module in found:
            d_model = module.d_out if module.kind == "embedding" else module.d_in
            delta = f"{module.name}.token_adapter.trainable_tokens_delta"
            yield SavedModule(module.name, ((delta, (n_rows, d_model)),))


def _trained_biases(lora: LoraConfig, model: _Model, modules: Modules) -> int:
    """Return the parameters of the biases of the base model that are trained."""
    if lora.bias == "all":
        return sum(prod(shape) for name, shape in model.tensors.items() if "bias" in name)
    return sum(module.bias_params for module in modules) if lora.bias == "lora_only" else 0
