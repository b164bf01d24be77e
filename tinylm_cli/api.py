"""The Python API: ``import tinylm_cli as tinylm``.

A thin facade over the functions that the commands call. Keyword arguments have the names of the options, and every
method returns the report of its command; docs/json.md lists the fields. Only :meth:`Model.build` imports torch.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tinylm_cli.config.loader import LoadedConfig
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.render.report import Report
from tinylm_cli.reports.compare import CompareReport
from tinylm_cli.reports.params import Convention, ModelParams, ParamsReport
from tinylm_cli.reports.validate import FileResult, ValidateReport

if TYPE_CHECKING:
    import torch

    from tinylm_cli.cli.variants import Variant
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
    from tinylm_cli.interop.load import load_config

    reference, changes = _reference(name_or_path), _changes(set)
    return Model(load_config(reference, changes), reference, changes)


@dataclass(frozen=True)
class Model:
    """A model as its config describes it; no weights are held.

    Attributes:
        loaded: The validated config, and where each value was written.
        reference: What :func:`load` was asked for.
        changes: Each ``key=value`` that was changed on top.
    """

    loaded: LoadedConfig = field(repr=False)
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
        self, *, by: By = "component", expand: bool = False, convention: Convention | None = None
    ) -> Report[ModelParams]:
        """Count parameters in closed form; see ``tinylm params``.

        Args:
            by: The rows of ``parts``: per layer or per tensor; ``component`` leaves it empty.
            expand: Whether repeated layers are listed one by one.
            convention: Another way to count, shown beside the count of stored tensors.
        """
        from tinylm_cli.analysis.params import analyze_params
        from tinylm_cli.render.views.params import params_view

        counted = analyze_params(self.loaded, by=by, expand=expand)
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
        from tinylm_cli.analysis.compare import compare, shared_conditions
        from tinylm_cli.cli.variants import Variant, distinct_names
        from tinylm_cli.render.views.compare import compare_view

        base = Variant(self.reference, self.changes)
        models = [self, *(each if isinstance(each, Model) else _variant(each, base) for each in others)]
        names = distinct_names(
            [Variant(each.reference, each.changes) for each in models], [each.name for each in models]
        )
        changed = [(each.loaded._replace(name=name), each.changes) for each, name in zip(models, names, strict=True)]
        shared = shared_conditions([each.config for each in models])
        given = shared._replace(
            batch_size=batch_size or shared.batch_size, seq_len=seq_len or shared.seq_len, dtype=dtype or shared.dtype
        )
        report = compare(changed, given)
        return Report(report, lambda: compare_view(report))

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
        valid = int(result.status == "valid")
        report = ValidateReport(valid=valid, failed=1 - valid, wrong=0, unreadable=0, files=(result,))
        return Report(result, lambda: validate_view(report))

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


def _variant(word: str | os.PathLike[str], base: Variant) -> Model:
    from tinylm_cli.cli.variants import parse_variant

    variant = parse_variant(_reference(word), base)
    return load(variant.reference, set=variant.all_changes)


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
