"""The Python API: ``import tinylm_cli as tinylm``.

A thin facade over the functions that the commands call. Keyword arguments have the names of the options, and every
method returns the report of its command; docs/json.md lists the fields. Only :meth:`Model.build` imports torch.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack

from tinylm_cli.config.loader import LoadedConfig
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import UsageError
from tinylm_cli.render.report import Report
from tinylm_cli.reports.compare import CompareReport
from tinylm_cli.reports.estimate import EstimateReport, Purpose
from tinylm_cli.reports.flops import AttentionCount
from tinylm_cli.reports.memory import AttentionKernel, Device, Optimizer, Quantization, Recompute
from tinylm_cli.reports.params import Convention, ModelParams, ParamsReport
from tinylm_cli.reports.plan import WORDS, Layout
from tinylm_cli.reports.sweep import SweepReport, SweptField
from tinylm_cli.reports.validate import FileResult, ValidateReport

if TYPE_CHECKING:
    import torch

    from tinylm_cli.analysis.setups import QuantizationConfig, Setups
    from tinylm_cli.interop.load import WrittenConfig
    from tinylm_cli.model import TinyTransformerLM

By = Literal["component", "layer", "tensor"]
Changes = str | Iterable[str] | Mapping[str, Any]
"""Fields to change: ``"n_layers=8"``, several of these, or ``{"n_layers": 8, "norm.kind": "rmsnorm"}``."""


class SetupFields(TypedDict, total=False):
    """How a model is trained and served: the fields of ``TrainingSetup`` and ``ServingSetup`` that a caller may set."""

    batch_size: int
    seq_len: int
    dtype: str
    attention_kernel: AttentionKernel
    device: Device
    recompute: Recompute
    optimizer: Optimizer
    grad_dtype: str
    master_weights: bool
    n_gpus: int
    global_batch_size: int
    train_tokens: int | str
    utilization: float
    kernel_efficiency: float
    usd_per_gpu_hour: float
    cache_dtype: str
    quantization: Quantization | QuantizationConfig
    prefill_tokens: int
    batch_sizes: tuple[int, ...]
    seq_lens: tuple[int, ...]


def load(name_or_path: str | os.PathLike[str], *, set: Changes = ()) -> Model:  # noqa: A002 - the option's name
    """Load and validate a model config.

    Args:
        name_or_path: A preset or published model by name; a YAML file; a Hugging Face ``config.json`` or its folder;
            ``REV:path`` for a file as git has it; ``-`` for standard input.
        set: Fields to change, as ``--set`` does.

    Raises:
        ConfigError: If the text or a change is wrong; ``diagnostics`` holds every mistake, each at its place.
        InputError: If nothing can be read under that name.
        UsageError: If a change is not ``key=value``.
    """
    from tinylm_cli.interop.load import parse_written, read_written

    reference, changes = _reference(name_or_path), _changes(set)
    written = read_written(reference)
    return Model(parse_written(written, changes), written, reference, changes)


def sweep(
    model: Model | str | os.PathLike[str],
    fields: str | Iterable[str] | Mapping[str, Iterable[Any]],
    *,
    figure: str = "total_params",
    batch_size: int = 1,
    seq_len: int | None = None,
    dtype: str = "bfloat16",
    optimizer: Optimizer = "adamw",
    recompute: Recompute = "none",
) -> Report[SweepReport]:
    """Return the figures of a model while one or two of its fields change; see ``tinylm sweep``.

    Args:
        model: A model, or what :func:`load` takes.
        fields: ``"n_layers=4..24:4"``, two of these, or ``{"n_layers": range(4, 25, 4)}``.
        figure: The figure to chart.
        batch_size: Sequences that every figure assumes.
        seq_len: Tokens in each; None for ``max_len``.
        dtype: Storage type of weights, activations and caches.
        optimizer: What updates the weights.
        recompute: What the backward pass computes again.

    Raises:
        ConfigError: If the config is wrong before any field changes; a wrong combination is a point with its error.
        UsageError: If a field or the figure is unknown, a field has no values, or there are too many combinations.
    """
    from tinylm_cli.analysis.figures import FIGURES
    from tinylm_cli.analysis.setups import Setups
    from tinylm_cli.analysis.sweep import sweep as swept
    from tinylm_cli.config.field_values import parse_field_values
    from tinylm_cli.config.suggestions import suggest
    from tinylm_cli.render.views.sweep import sweep_view

    base = model if isinstance(model, Model) else load(model)
    if figure not in FIGURES:
        meant = suggest(figure, FIGURES)
        raise UsageError(f"there is no figure {figure}", help=f"did you mean {meant}?" if meant else "")
    swept_fields = tuple(SweptField(*each) for each in parse_field_values(_values(fields)).items())
    setups = Setups.of(batch_size=batch_size, seq_len=seq_len, dtype=dtype, optimizer=optimizer, recompute=recompute)
    report = swept(lambda more: base._with((*base.changes, *more)).loaded, swept_fields, setups, figure)
    return Report(report, lambda: sweep_view(report))


@dataclass(frozen=True)
class Model:
    """A model as its config describes it; no weights are held.

    Attributes:
        loaded: The validated config, and where each value was written.
        written: The text it was read from.
        reference: What :func:`load` was asked for.
        changes: Each ``key=value`` that was changed on top.
    """

    loaded: LoadedConfig = field(repr=False)
    written: WrittenConfig = field(repr=False)
    reference: str
    changes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The preset's name, or the file's stem."""
        return self.loaded.name

    @property
    def config(self) -> ModelConfig:
        """The validated config: frozen, with defaults filled in."""
        return self.loaded.config

    def params(
        self,
        *,
        by: By = "component",
        expand: bool = False,
        explain: bool = False,
        convention: Convention | None = None,
    ) -> Report[ModelParams]:
        """Count parameters in closed form; see ``tinylm params``.

        Args:
            by: The rows of ``parts``: per layer or per tensor; ``component`` leaves it empty.
            expand: Whether repeated layers are listed one by one.
            explain: Whether to give the formula of each component, and changes that make a nominal size true; ``by``
                and ``expand`` do not apply then.
            convention: Another way to count, shown beside the count of stored tensors.
        """
        from tinylm_cli.analysis.param_formulas import explain_params
        from tinylm_cli.analysis.params import analyze_params
        from tinylm_cli.render.views.params import params_view

        counted = explain_params(self.loaded) if explain else analyze_params(self.loaded, by=by, expand=expand)
        return Report(counted, lambda: params_view(ParamsReport((counted,)), convention))

    def compare(
        self,
        *others: Model | str | os.PathLike[str],
        batch_size: int | None = None,
        seq_len: int | None = None,
        dtype: str | None = None,
    ) -> Report[CompareReport]:
        """Return what differs between this model and others; see ``tinylm compare``.

        Args:
            others: Models, or what ``tinylm compare`` takes: ``"mistral-7b"``, or ``"@n_layers=8"`` for this model with
                a change.
            batch_size: Sequences that every figure assumes; None for what the budgets share, else 1.
            seq_len: Tokens in each; None for what the budgets share, else the smallest ``max_len``.
            dtype: Storage type; None for what the budgets share, else ``bfloat16``.

        Raises:
            ConfigError: If another config is wrong.
            InputError: If another config cannot be read.
            AnalysisError: If a model is too short for ``seq_len``.
        """
        from tinylm_cli.analysis.compare import compare, shared_setups
        from tinylm_cli.interop.variants import Variant, distinct_names
        from tinylm_cli.render.views.compare import compare_view

        models = [self, *(each if isinstance(each, Model) else self._variant(each) for each in others)]
        names = distinct_names(
            [Variant(each.reference, each.changes) for each in models], [each.name for each in models]
        )
        changed = [(each.loaded._replace(name=name), each.changes) for each, name in zip(models, names, strict=True)]
        given = {"batch_size": batch_size, "seq_len": seq_len, "dtype": dtype}
        setups = shared_setups([each.config for each in models])
        setups = setups.changed(**{field: value for field, value in given.items() if value is not None})
        report = compare(changed, setups)
        return Report(report, lambda: compare_view(report))

    def estimate(
        self,
        *,
        gpu: str | None = None,
        hardware: str | os.PathLike[str] | None = None,
        plan: str | Layout | None = None,
        purpose: Purpose | None = None,
        by: Literal["component", "layer"] = "component",
        attention_flops: AttentionCount = "causal",
        full: bool = False,
        **setup: Unpack[SetupFields],
    ) -> Report[EstimateReport]:
        """Estimate FLOPs, memory, time and cost of training and serving; see ``tinylm estimate``.

        ``model.estimate(gpu="h100", n_gpus=16, plan="tp=2,zero=1", train_tokens="15B")``

        Args:
            gpu: A GPU that ``tinylm list --hardware`` names; without one there are no times.
            hardware: A file of GPUs of your own.
            plan: How GPUs share the work, as ``--plan`` takes it; None ranks every layout when ``gpu`` is given.
            purpose: Estimate only ``training`` or only ``serving``, as ``--for`` does.
            by: How FLOPs are broken down on the screen.
            attention_flops: Whether FLOPs of attention count the pairs a query may see, or the full square.
            full: Whether the report shows itself whole, not only the verdict; its data is the same.
            setup: Fields of ``TrainingSetup`` and ``ServingSetup`` (``tinylm_cli/analysis/setups.py``), where they
                have defaults; a field of both, such as ``batch_size``, is set in both.

        Raises:
            ConfigError: If no GPU has that name, or the hardware file is wrong.
            AnalysisError: If a size is out of range, or the layout does not divide the model evenly.
            UsageError: If a field or a word of the plan is unknown, or the GPU does not multiply the dtype.
        """
        from tinylm_cli.analysis.estimate import estimate
        from tinylm_cli.config.hardware import find_accelerator, load_accelerators
        from tinylm_cli.render.views.estimate import estimate_full_view, estimate_view

        setups = _setups(setup, plan, has_gpu=gpu is not None)
        accelerators = load_accelerators(None if hardware is None else os.fspath(hardware))
        report = estimate(
            self.loaded,
            setups,
            None if gpu is None else find_accelerator(accelerators, gpu),
            purpose=purpose,
            accelerators=() if gpu is None else tuple(accelerators.values()),
            attention=attention_flops,
        )
        everything = partial(estimate_full_view, report, by)
        return Report(report, everything if full else partial(estimate_view, report), everything)

    def validate(self, *, assert_: str | Iterable[str] = ()) -> Report[FileResult]:
        """Check the config's budget and further assertions; see ``tinylm validate``. Mistakes stop :func:`load`.

        Args:
            assert_: Each as ``--assert`` takes it, e.g. ``"total_params < 130M"``.

        Raises:
            ConfigError: If an assertion cannot be read.
        """
        from tinylm_cli.analysis.budget_check import ASSERTABLE, check_budget
        from tinylm_cli.config.assertion import read_assertions
        from tinylm_cli.render.views.validate import validate_view

        asserted = read_assertions([assert_] if isinstance(assert_, str) else tuple(assert_), ASSERTABLE)
        result = check_budget(self.loaded, asserted)
        return Report(result, lambda: validate_view(ValidateReport.of([result])))

    def build(
        self,
        *,
        seed: int = 0,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | str = "float32",
        weights: str | os.PathLike[str] | None = None,
    ) -> TinyTransformerLM:
        """Instantiate the PyTorch model. This imports torch.

        Args:
            seed: The same seed draws the same weights on every device.
            device: Where the weights go; ``meta`` gives shapes without storage.
            dtype: Storage type of the weights.
            weights: A folder that ``tinylm build --save`` wrote, to load instead of drawing from the seed.

        Raises:
            CapacityError: If the weights do not fit in this machine.
            WeightsError: If the folder does not hold this model.
            ValueError: If ``dtype`` names no type of torch.
        """
        import torch

        from tinylm_cli.model import TinyTransformerLM
        from tinylm_cli.model.weights import load_model

        stored = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
        if not isinstance(stored, torch.dtype):
            raise ValueError(f"{dtype} is no dtype of torch: write float32, bfloat16, float16 or float64")
        if weights is not None:
            return load_model(self.config, Path(weights), device=torch.device(device), dtype=stored)
        return TinyTransformerLM.from_config(self.config, seed=seed, device=device, dtype=stored)

    def _variant(self, word: str | os.PathLike[str]) -> Model:
        """Return the model that ``tinylm compare`` takes ``word`` for after this one."""
        from tinylm_cli.interop.variants import Variant, parse_variant

        variant = parse_variant(_reference(word), Variant(self.reference, self.changes))
        if variant.reference == self.reference:
            return self._with(variant.changes)
        return load(variant.reference, set=variant.changes)

    def _with(self, changes: tuple[str, ...]) -> Model:
        """Return this model with other changes, without reading its text again."""
        from tinylm_cli.interop.load import parse_written

        return replace(self, loaded=parse_written(self.written, changes), changes=changes)


def _setups(fields: SetupFields, plan: str | Layout | None, *, has_gpu: bool) -> Setups:
    """Return the setups that ``estimate`` is given, amounts and plan in words or not."""
    from tinylm_cli.analysis.setups import QuantizationConfig, Setups
    from tinylm_cli.config.amounts import parse_amount
    from tinylm_cli.config.suggestions import suggest

    known: dict[str, Any] = dict(fields)
    for name in known.keys() - SetupFields.__annotations__.keys():
        meant = suggest(name, SetupFields.__annotations__)
        raise UsageError(f"no setup has a field {name}", help=f"did you mean {meant}?" if meant else "")
    if isinstance(known.get("quantization"), str):
        known["quantization"] = QuantizationConfig(known["quantization"])
    if isinstance(known.get("train_tokens"), str):
        try:
            known["train_tokens"] = parse_amount(known["train_tokens"], "count")
        except ValueError as error:
            raise UsageError(f"train_tokens {known['train_tokens']}: {error}") from error
    if isinstance(plan, str):
        plan = None if plan == "auto" else _layout(plan, known.get("n_gpus"))
    n_gpus = known.setdefault("n_gpus", 1 if plan is None else plan.gpus)
    if plan is not None and plan.gpus != n_gpus:
        raise UsageError(f"the plan takes {plan.gpus} GPUs, and n_gpus is {n_gpus}", help="leave out n_gpus, or dp")
    if plan is None and n_gpus > 1 and not has_gpu:
        plan = Layout(data=n_gpus, zero=3)  # which layout is fastest depends on the GPU
    derives = plan is None or plan.micro_batches == 1
    return Setups.of(**known, layout=plan, derives_micro_batches=derives)


def _layout(plan: str, n_gpus: int | None) -> Layout:
    """Return the layout that ``tp=2,zero=1`` describes; ``dp`` is what is left of the GPUs unless it is given."""
    fields = {word: name for name, word in WORDS.items()}
    given: dict[str, Any] = {}
    for each in plan.split(","):
        word, _, value = each.strip().partition("=")
        if word not in fields or not (value.isdecimal() or word == "schedule"):
            raise UsageError(f"no plan has {each}", help=f"its words are {', '.join(fields)}: for example tp=2,zero=1")
        given[fields[word]] = value if word == "schedule" else int(value)
    layout = Layout(**given)
    return layout if "data" in given or n_gpus is None else replace(layout, data=max(n_gpus // layout.gpus, 1))


def _reference(name_or_path: str | os.PathLike[str]) -> str:
    """Return what ``--config`` takes; a ``Path`` without a folder is a file here, not a preset's name."""
    if isinstance(name_or_path, str):
        return name_or_path
    path = os.fspath(name_or_path)
    return path if os.sep in path else os.path.join(os.curdir, path)  # noqa: PTH118 - Path drops the leading dot


def _values(fields: str | Iterable[str] | Mapping[str, Iterable[Any]]) -> list[str]:
    """Return each swept field as ``tinylm sweep`` takes it."""
    if isinstance(fields, str):
        return [fields]
    if not isinstance(fields, Mapping):
        return list(fields)
    from tinylm_cli.config.yaml_writer import scalar

    return [f"{key}={','.join(map(scalar, values))}" for key, values in fields.items()]


def _changes(changes: Changes) -> tuple[str, ...]:
    """Return each change as ``--set`` takes it."""
    if isinstance(changes, str):
        return (changes,)
    if not isinstance(changes, Mapping):
        return tuple(changes)
    from tinylm_cli.config.schema import flatten
    from tinylm_cli.config.yaml_writer import scalar

    return tuple(f"{key}={scalar(value)}" for key, value in flatten(dict(changes)).items())
