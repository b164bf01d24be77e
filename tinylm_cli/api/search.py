"""Searches over models: sweep fields, or design models from targets and limits."""

from __future__ import annotations

import json
import os
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Unpack

from tinylm_cli.analysis.design import DEFAULT_FAMILY, DEFAULT_TOLERANCE, DEFAULT_TOP
from tinylm_cli.analysis.setups import Setups, TrainingSetup
from tinylm_cli.api.amounts import (
    Bytes,
    Designs,
    Deviation,
    Flops,
    MaxLength,
    Params,
    Rate,
    SequenceLength,
    Sequences,
    TrainingFlops,
    VocabSize,
)
from tinylm_cli.api.arguments import checked, number, require_known, whole
from tinylm_cli.api.model import Model, load
from tinylm_cli.api.setups import SetupFields, read_fields, read_gpu, read_setups
from tinylm_cli.api.wording import as_keywords
from tinylm_cli.config.choices import DEFAULT_DTYPE, DType
from tinylm_cli.errors import UsageError
from tinylm_cli.render.report import Report
from tinylm_cli.reports.choices import Optimizer, Purpose, Recompute
from tinylm_cli.reports.design import DesignReport
from tinylm_cli.reports.plan import Layout
from tinylm_cli.reports.sweep import SweepReport, SweptField

_DEFAULT = TrainingSetup()


@checked
def sweep(
    model: Model | str | os.PathLike[str],
    fields: str | Iterable[str] | Mapping[str, Iterable[Any]],
    *,
    figure: str = "total_params",
    batch_size: Sequences = _DEFAULT.batch_size,
    seq_len: SequenceLength | None = _DEFAULT.seq_len,
    dtype: DType = DEFAULT_DTYPE,
    optimizer: Optimizer = _DEFAULT.optimizer,
    recompute: Recompute = _DEFAULT.recompute,
) -> Report[SweepReport]:
    """Evaluate the figures of a model over values of one or two of its fields; see ``tinylm sweep``.

    Args:
        model: A model, or a name or path for :func:`load`.
        fields: ``"n_layers=4..24:4"``, two such strings, or ``{"n_layers": range(4, 25, 4)}``.
        figure: Name of the figure to chart.
        batch_size: Sequences per batch.
        seq_len: Tokens per sequence; None for ``max_len``.
        dtype: Data type of weights, activations and caches.
        optimizer: The optimizer.
        recompute: Activations that the backward pass recomputes.

    Raises:
        ConfigError: If the unchanged config is invalid, or a field is unknown or has no values; an invalid combination
            becomes a point with its error.
        UsageError: If an argument is invalid, no field is given, or there are too many combinations.
    """
    from tinylm_cli.analysis.figures import FIGURES
    from tinylm_cli.analysis.sweep import sweep as swept
    from tinylm_cli.config.field_values import parse_field_values
    from tinylm_cli.render.views.sweep import sweep_view

    base = model if isinstance(model, Model) else load(model)
    require_known("figure", figure, FIGURES)
    swept_fields = tuple(SweptField(*each) for each in parse_field_values(_values(fields)).items())
    setup = SetupFields(batch_size=batch_size, seq_len=seq_len, dtype=dtype, optimizer=optimizer, recompute=recompute)
    setups = Setups.of(**read_fields(setup))
    report = swept(lambda more: base.with_changes(more).loaded, swept_fields, setups, figure)
    return Report(report, lambda: sweep_view(report))


def _values(fields: str | Iterable[str] | Mapping[str, Iterable[Any]]) -> list[str]:
    """Return the swept fields as arguments of ``tinylm sweep``."""
    if isinstance(fields, str):
        return [fields]
    if not isinstance(fields, Mapping):
        return list(fields)
    return [f"{key}={','.join(map(_list_item, values))}" for key, values in fields.items()]


def _list_item(value: Any) -> str:
    """Return a value as an item of a list of values, in quotes if it contains a comma."""
    from tinylm_cli.config.yaml_scalar import scalar

    text = scalar(value)
    return json.dumps(value) if isinstance(value, str) and "," in value and text == value else text


@checked
def design(
    *,
    params: Params | None = None,
    active_params: Params | None = None,
    compute: TrainingFlops | None = None,
    max_flops_per_token: Flops | None = None,
    max_kv_bytes: Bytes | None = None,
    max_weights_bytes: Bytes | None = None,
    max_train_bytes_per_gpu: Bytes | None = None,
    max_serve_bytes: Bytes | None = None,
    min_decode_tokens_per_second: Rate | None = None,
    gpu: str | None = None,
    hardware: str | os.PathLike[str] | None = None,
    for_: Purpose = "training",
    plan: str | Layout | None = None,
    family: str = DEFAULT_FAMILY,
    vocab_size: VocabSize | None = None,
    max_len: MaxLength | None = None,
    tie: bool | None = None,
    d_model: range | None = None,
    n_layers: range | None = None,
    d_head: tuple[int, ...] = (),
    tolerance: Deviation = DEFAULT_TOLERANCE,
    top: Designs = DEFAULT_TOP,
    front: bool = False,
    full: bool = False,
    **setup: Unpack[SetupFields],
) -> Report[DesignReport]:
    """Search for the models that meet targets and limits, best first; see ``tinylm design``.

    ``tinylm.load(tinylm.design(params="125M", family="llama").designs[0].config)`` is the best model.

    Args:
        params: Target number of parameters.
        active_params: Target number of parameters that one token uses.
        compute: FLOPs of a full training run; targets the compute-optimal size, given ``train_tokens`` if set.
        max_flops_per_token: Maximum FLOPs of a forward pass per token.
        max_kv_bytes: Maximum size of the KV cache.
        max_weights_bytes: Maximum size of the weights.
        max_train_bytes_per_gpu: Maximum training memory per GPU.
        max_serve_bytes: Maximum serving memory.
        min_decode_tokens_per_second: Minimum decode throughput, summed over the batch.
        gpu: The GPU in whose memory the model must fit.
        hardware: A file that describes further GPUs.
        for_: Workload that must fit on the GPU: ``training`` or ``serving``.
        plan: Parallel layout of several GPUs; None for tensor parallelism over each node.
        family: The architecture: ``course``, ``gpt2``, ``llama``, ``qwen3``, ``gemma2``, ``mixtral``, ``qwen3-moe``,
            ``qwen3.5``, ``qwen3.5-moe``, ``nemotron-h``, ``granite-4-h``, ``granite-4-h-moe`` or ``jamba``.
        vocab_size: Vocabulary size; None for the family's.
        max_len: Maximum sequence length; None for the family's.
        tie: Whether to tie the LM head to the embedding; None for the family's choice.
        d_model: Widths to search.
        n_layers: Depths to search.
        d_head: Dimensions per head to search; empty for the family's.
        tolerance: Maximum relative distance from a target.
        top: Maximum number of designs to return, 1 to 500.
        front: Whether to return only the Pareto front.
        full: Whether to display the ranking and the grid too; the data is the same.
        setup: The training and serving arguments.

    Raises:
        ConfigError: If the GPU is unknown, or the hardware file is invalid.
        UsageError: If there is no target or limit, an argument is invalid, or a plan is given for one GPU.
        AnalysisError: If the layout cannot evenly divide any model of the family.
    """
    from tinylm_cli.analysis.design.closed_form import MIN_LAYERS
    from tinylm_cli.analysis.design.constraints import (
        DECODE_RATE,
        compute_budget,
        compute_target,
        constraint_on,
        fits,
    )
    from tinylm_cli.analysis.design.families import FAMILIES
    from tinylm_cli.analysis.design.find_designs import DesignRequest, find_designs
    from tinylm_cli.analysis.design.search_space import GRID, SearchSpace, node_layout
    from tinylm_cli.render.views.design import design_view

    require_known("family", family, FAMILIES)
    template = FAMILIES[family]
    accelerator, accelerators = read_gpu(gpu, hardware)
    _require_sizes("d_model", d_model, 2)
    _require_sizes("n_layers", n_layers, MIN_LAYERS)
    _require_sizes("d_head", d_head or None, 1)
    deviation = number(tolerance)
    gpus = read_fields(setup).get("gpus", 1)
    if plan is None and gpus > 1:
        plan = node_layout(gpus, template, accelerator)
    setups = read_setups(Setups(), setup, plan, has_gpu=gpu is not None)
    amounts = {
        "total_params": params,
        "active_params": active_params,
        "forward_flops_per_token": max_flops_per_token,
        "kv_cache_bytes": max_kv_bytes,
        "weights_bytes": max_weights_bytes,
        "train_bytes_per_gpu": max_train_bytes_per_gpu,
        "serve_bytes": max_serve_bytes,
    }
    constraints = [constraint_on(name, whole(value), deviation) for name, value in amounts.items() if value is not None]
    if min_decode_tokens_per_second is not None:
        constraints.append(constraint_on(DECODE_RATE, number(min_decode_tokens_per_second)))
    budget = None
    if compute is not None:
        budget = compute_budget(whole(compute), setups.training.train_tokens)
        constraints.append(compute_target(budget, template, deviation))
    if accelerator is not None:
        constraints.append(fits(accelerator, for_))
    if not constraints:
        raise UsageError("no target or limit is given", help='for example design(params="125M")')
    grid = replace(
        GRID,
        d_models=GRID.d_models if d_model is None else (d_model,),
        n_layers=GRID.n_layers if n_layers is None else n_layers,
        aspects=GRID.aspects if n_layers is None else None,
        d_heads=d_head,
    )
    member = template.config
    space = SearchSpace(
        family=template,
        vocab_size=whole(vocab_size or member.vocab_size),
        max_len=whole(max_len or member.max_len),
        tie_weights=member.tie_weights if tie is None else tie,
        setups=setups,
        grid=grid,
        accelerator=accelerator,
    )
    report = find_designs(
        DesignRequest(
            space,
            tuple(constraints),
            deviation,
            top,
            front,
            None if accelerator is None else for_,
            budget,
            accelerators,
        )
    )
    everything = partial(design_view, report, as_keywords)
    return Report(report, everything if full else partial(everything, full=False), everything)


def _require_sizes(name: str, values: Sequence[int] | None, minimum: int) -> None:
    """Check the values of one size of the grid: at least one, in ascending order."""
    if values is not None and (not values or values[0] < minimum or list(values) != sorted(values)):
        raise UsageError(f"{name}: expected ascending values >= {minimum}, got {reprlib.repr(values)}")
