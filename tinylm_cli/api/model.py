"""A model as its config describes it: loaded once, then counted, estimated, compared, validated and built."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack

from tinylm_cli.api.setups import SetupFields, read_gpu, setup_changes
from tinylm_cli.config.loader import LoadedConfig
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.render.report import Report
from tinylm_cli.reports.compare import CompareReport
from tinylm_cli.reports.estimate import EstimateReport, Purpose
from tinylm_cli.reports.flops import AttentionCount
from tinylm_cli.reports.params import Convention, ModelParams, ParamsReport
from tinylm_cli.reports.plan import Layout
from tinylm_cli.reports.validate import FileResult, ValidateReport

if TYPE_CHECKING:
    import torch

    from tinylm_cli.interop.load import ConfigText
    from tinylm_cli.model import TinyTransformerLM

By = Literal["component", "layer", "tensor"]
Changes = str | Iterable[str] | Mapping[str, Any]
"""Fields to change: ``"n_layers=8"``, several of these, or ``{"n_layers": 8, "norm.kind": "rmsnorm"}``."""


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
    from tinylm_cli.interop.load import parse_config_text, read_config_text

    reference, changes = _reference(name_or_path), _changes(set)
    written = read_config_text(reference)
    return Model(parse_config_text(written, changes), written, reference, changes)


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
    written: ConfigText = field(repr=False)
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
        gpu: str | None = None,
        hardware: str | os.PathLike[str] | None = None,
        plan: str | Layout | None = None,
        **setup: Unpack[SetupFields],
    ) -> Report[CompareReport]:
        """Return what differs between this model and others; see ``tinylm compare``.

        Args:
            others: Models, or what ``tinylm compare`` takes: ``"mistral-7b"``, or ``"@n_layers=8"`` for this model with
                a change.
            gpu: A GPU to compare step time, MFU, days, cost and serving on.
            hardware: A file of GPUs of your own.
            plan: How GPUs share the work, as for :meth:`estimate`.
            setup: As for :meth:`estimate`; by default what the budgets of all models share, and a ``seq_len`` of the
                smallest ``max_len``.

        Raises:
            ConfigError: If another config is wrong, or no GPU has that name.
            InputError: If another config cannot be read.
            AnalysisError: If a model is too short for ``seq_len``, or the layout does not divide it evenly.
            UsageError: If a field or a word of the plan is unknown, or the GPU does not multiply the dtype.
        """
        from tinylm_cli.analysis.compare import compare, shared_setups
        from tinylm_cli.interop.variants import Variant, distinct_names
        from tinylm_cli.render.views.compare import compare_view

        models = [self, *(each if isinstance(each, Model) else self._variant(each) for each in others)]
        names = distinct_names(
            [Variant(each.reference, each.changes) for each in models], [each.name for each in models]
        )
        changed = [(each.loaded._replace(name=name), each.changes) for each, name in zip(models, names, strict=True)]
        setups = shared_setups([each.config for each in models])
        setups = setups.changed(**setup_changes(setup, plan, has_gpu=gpu is not None))
        accelerator, _ = read_gpu(gpu, hardware)
        report = compare(changed, setups, accelerator)
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
        from tinylm_cli.analysis.setups import Setups
        from tinylm_cli.render.views.estimate import estimate_full_view, estimate_view

        setups = Setups.of(**setup_changes(setup, plan, has_gpu=gpu is not None))
        accelerator, accelerators = read_gpu(gpu, hardware)
        report = estimate(
            self.loaded, setups, accelerator, purpose=purpose, accelerators=accelerators, attention=attention_flops
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
            weights: A folder of ``tinylm build --save`` or of Hugging Face, to load instead of drawing from the seed.

        Raises:
            CapacityError: If the weights do not fit in this machine.
            WeightsError: If the folder does not hold this model.
            ValueError: If ``dtype`` names no type of torch.
        """
        import torch

        from tinylm_cli.interop.weights.load_model import open_model
        from tinylm_cli.model import TinyTransformerLM

        stored = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
        if not isinstance(stored, torch.dtype):
            raise ValueError(f"{dtype} is no dtype of torch: write float32, bfloat16, float16 or float64")
        if weights is not None:
            return open_model(Path(weights), config=self.config, device=device, dtype=stored)
        return TinyTransformerLM.from_config(self.config, seed=seed, device=device, dtype=stored)

    def _variant(self, word: str | os.PathLike[str]) -> Model:
        """Return the model that ``tinylm compare`` takes ``word`` for after this one."""
        from tinylm_cli.interop.variants import Variant, parse_variant

        variant = parse_variant(_reference(word), Variant(self.reference, self.changes))
        if variant.reference == self.reference:
            return self.with_changes(variant.changes)
        return load(variant.reference, set=variant.changes)

    def with_changes(self, changes: tuple[str, ...]) -> Model:
        """Return this model with other changes, each ``key=value``, without reading its text again."""
        from tinylm_cli.interop.load import parse_config_text

        return replace(self, loaded=parse_config_text(self.written, changes), changes=changes)


def _reference(name_or_path: str | os.PathLike[str]) -> str:
    """Return what ``--config`` takes; a ``Path`` without a folder is a file here, not a preset's name."""
    if isinstance(name_or_path, str):
        return name_or_path
    path = os.fspath(name_or_path)
    return path if os.sep in path else os.path.join(os.curdir, path)  # noqa: PTH118 - Path drops the leading dot


def _changes(changes: Changes) -> tuple[str, ...]:
    """Return each change as ``--set`` takes it."""
    if isinstance(changes, str):
        return (changes,)
    if not isinstance(changes, Mapping):
        return tuple(changes)
    from tinylm_cli.config.schema import flatten
    from tinylm_cli.config.yaml_writer import scalar

    return tuple(f"{key}={scalar(value)}" for key, value in flatten(dict(changes)).items())
