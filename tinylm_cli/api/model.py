"""A loaded model config, with methods to count, estimate, compare, validate and build the model."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Unpack

from tinylm_cli.api.amounts import Seed
from tinylm_cli.api.arguments import Bounds, checked, read
from tinylm_cli.api.lora import LoraArgument, read_counted, with_lora
from tinylm_cli.api.params import By, counted_params
from tinylm_cli.api.references import Changes, as_text, read_changes, reference_of
from tinylm_cli.api.setups import SetupFields, read_gpu, read_setups
from tinylm_cli.api.wording import as_keywords
from tinylm_cli.config.choices import DType
from tinylm_cli.config.loader import LoadedConfig
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import UsageError
from tinylm_cli.render.report import Report, Viewed
from tinylm_cli.reports.choices import AttentionCount, GgufChoice, Purpose
from tinylm_cli.reports.compare import CompareReport
from tinylm_cli.reports.estimate import EstimateReport
from tinylm_cli.reports.lint import TARGETS, LintReport, Target
from tinylm_cli.reports.params import Convention, ModelParams, ParamsReport
from tinylm_cli.reports.plan import Layout
from tinylm_cli.reports.validate import FileResult, ValidateReport
from tinylm_cli.reports.verify import VerifyReport

if TYPE_CHECKING:
    import torch

    from tinylm_cli.interop.load import ConfigText
    from tinylm_cli.model import TinyTransformerLM
    from tinylm_cli.render.blocks import View

YAML_SUFFIXES = (".yaml", ".yml")


@checked
def load(
    config: str | os.PathLike[str] | Mapping[str, Any] | ModelConfig,
    *,
    set: Changes = (),  # noqa: A002 - the option's name
    ignore: str | Iterable[str] = (),
) -> Model:
    """Load and validate a model config.

    Args:
        config: A preset or published model by name; a YAML file; a Hugging Face ``config.json`` or its folder;
            a GGUF file; ``hf://org/name`` for a repository of the Hugging Face Hub; ``REV:path`` for a file in a git
            revision; ``-`` for standard input; or the config itself: a dictionary with the keys of a YAML file or of a
            ``config.json``, such as the ``config`` of a design, or a ``ModelConfig``.
        set: Fields to change, as ``--set`` does.
        ignore: Keys of a Hugging Face config to ignore, as ``--ignore`` does: ``["rope_scaling.factor"]``.

    Raises:
        ConfigError: If the config or a change is invalid; ``diagnostics`` lists every error with its position.
        InputError: If no such config exists, or it cannot be read.
        UsageError: If a change is not ``key=value``, a dictionary contains objects that a file cannot, or the config
            has no key to ignore.
    """
    from tinylm_cli.interop.key_effects import KeyPolicy, require_keys
    from tinylm_cli.interop.load import parse_config_text, read_config_text

    if isinstance(config, str | os.PathLike):
        reference = reference_of(config)
        source_text = read_config_text(reference)
    else:
        source_text = as_text(config.model_dump() if isinstance(config, ModelConfig) else config)
        reference = f"<{source_text.name}>"
    changes, ignored = read_changes(set), (ignore,) if isinstance(ignore, str) else tuple(ignore)
    source_text = source_text._replace(policy=KeyPolicy(ignored))
    loaded = parse_config_text(source_text, changes)
    require_keys(ignored, [loaded])
    return Model(loaded, source_text, reference, changes)


@dataclass(frozen=True, repr=False)
class Model(Viewed):
    """A loaded model config, without weights; printed, and displayed in a notebook, as YAML without its defaults.

    Attributes:
        loaded: The validated config, with the source position of each value.
        source_text: The source text.
        reference: The name or path given to :func:`load`, or ``<name>`` of a config given as a dictionary.
        changes: The changes applied to the text, each ``key=value``.
    """

    loaded: LoadedConfig = field(hash=False)
    source_text: ConfigText = field(compare=False)
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

    @property
    def _title(self) -> str:
        """The name with the changes, for the headings of reports: ``tiny@d_model=64``."""
        from tinylm_cli.interop.variants import Variant, distinct_names

        return distinct_names([Variant(self.reference, self.changes)], [self.name])[0]

    def _view(self) -> View:
        from tinylm_cli.analysis.params import total_params
        from tinylm_cli.analysis.tensor_table import tensor_table
        from tinylm_cli.config.yaml_writer import to_yaml
        from tinylm_cli.render.views.show import model_view

        text = to_yaml(self.config, defaults=False)
        return model_view(self._title, total_params(tensor_table(self.config)), text)

    def to_yaml(self) -> str:
        """Return the config as YAML: required fields and all others with an effect, as ``tinylm show`` prints them."""
        from tinylm_cli.config.yaml_writer import to_yaml

        return to_yaml(self.config)

    @checked
    def save(
        self, path: str | os.PathLike[str], *, weights: TinyTransformerLM | None = None, overwrite: bool = False
    ) -> None:
        """Write the config to a YAML file or, with the weights of a module, to a folder; :func:`load` reads both.

        Args:
            path: The file ``*.yaml``, or the folder; its parent folder exists.
            weights: The module, from :meth:`build`, whose weights the folder holds as ``model.safetensors``.
            overwrite: Whether to replace a file, or a folder that tinylm wrote.

        Raises:
            OutputError: If the path exists and ``overwrite`` is false, or if it cannot be written.
            UsageError: If the file is not named ``*.yaml``, or the module was built from another config or has
                no storage.
        """
        if weights is not None:
            self._save_weights(Path(path), weights, overwrite=overwrite)
            return
        from tinylm_cli.atomic_write import write_file

        file = Path(path)
        if file.suffix.lower() not in YAML_SUFFIXES:
            raise UsageError(f"{file} is not a YAML file", help=f"for example {Path(f'{file}.yaml')}")
        write_file(file, self.to_yaml(), overwrite=overwrite)

    def _save_weights(self, folder: Path, module: TinyTransformerLM, *, overwrite: bool) -> None:
        from tinylm_cli.model import TinyTransformerLM
        from tinylm_cli.model.checkpoint import save_model

        read("weights", module, TinyTransformerLM)
        if module.config != self.config:
            raise UsageError("weights: the module has another config", help="save the model that built it")
        if module.device.type == "meta":
            raise UsageError("weights: a module on meta has no values", help="build it on another device")
        save_model(module, folder, config_text=self.to_yaml(), overwrite=overwrite)

    @checked
    def params(
        self,
        *,
        by: By = "component",
        expand: bool = False,
        explain: bool = False,
        convention: Convention | None = None,
        gguf: GgufChoice | None = None,
        imatrix: bool = False,
        lora: LoraArgument | None = None,
    ) -> Report[ModelParams]:
        """Count parameters in closed form; see ``tinylm params``.

        Args:
            by: The rows of ``parts``: layers or tensors; ``component`` leaves it empty.
            expand: Whether to list repeated layers individually, in at most 50,000 rows.
            explain: Whether to return formulas, and changes that match a nominal size; ignores ``by`` and ``expand``.
            convention: Another counting convention, shown next to the count of stored tensors.
            gguf: A type of GGUF file, such as ``"Q4_K_M"``, or ``"all"``: sizes of the files, in ``gguf``.
            imatrix: Whether GGUF files are quantized with an importance matrix; those that need one always are.
            lora: Count the adapters of an ``adapter_config.json``, its folder, or its keys: ``{"r": 16}``.

        Raises:
            AnalysisError: If ``expand`` would list more than 50,000 rows.
            ConfigError: If the adapters are invalid or name no modules.
            InputError: If the adapters cannot be read.
            UnableError: If ``gguf`` is given and the package gguf is not installed.
            UsageError: If an argument is not one of its choices, or cannot be combined with ``lora``.
        """
        from tinylm_cli.render.views.params import params_view

        own = read_counted(lora, self.loaded, by, explain=explain, convention=convention, gguf=gguf)
        counted = counted_params(self.loaded, by, own, gguf, expand=expand, explain=explain, imatrix=imatrix)
        titled = ParamsReport((replace(counted, name=self._title),))
        view = partial(params_view, titled, as_keywords, convention)
        return Report(counted, view, listing=ParamsReport((counted,)))

    @checked
    def compare(
        self,
        *others: Model | Mapping[str, Any] | str | os.PathLike[str],
        gpu: str | None = None,
        hardware: str | os.PathLike[str] | None = None,
        plan: str | Layout | None = None,
        **setup: Unpack[SetupFields],
    ) -> Report[CompareReport]:
        """Compare this model with others; see ``tinylm compare``.

        Args:
            others: Models, or arguments of ``tinylm compare``: ``"mistral-7b"``, or ``"@n_layers=8"`` for this model
                with a change; ``{"n_layers": 8}`` is this model with changes too.
            gpu: A GPU for which to compare step time, MFU, days, cost and serving.
            hardware: A file that describes further GPUs.
            plan: Parallel layout, as for :meth:`estimate`.
            setup: As for :meth:`estimate`; by default the settings that all budgets share, and the smallest ``max_len``
                as ``seq_len``.

        Raises:
            ConfigError: If another config is invalid, or the GPU is unknown.
            InputError: If another config cannot be read.
            AnalysisError: If ``seq_len`` exceeds the ``max_len`` of a model, or the layout does not divide it evenly.
            UsageError: If an argument or the plan is invalid, there is no other model, there are too many, or the
                GPU does not support matmuls in the dtype.
        """
        from tinylm_cli.analysis.compare import compare, shared_setups
        from tinylm_cli.interop.variants import Variant, distinct_names, require_few_kinds, require_few_models
        from tinylm_cli.render.views.compare import compare_view

        if not others:
            raise UsageError("nothing to compare with", help='for example compare("mistral-7b")')
        require_few_models(1 + len(others))
        models = [self, *(each if isinstance(each, Model) else self._variant(each) for each in others)]
        require_few_kinds(each.config for each in models)
        names = distinct_names(
            [Variant(each.reference, each.changes) for each in models], [each.name for each in models]
        )
        changed = [(each.loaded._replace(name=name), each.changes) for each, name in zip(models, names, strict=True)]
        shared = shared_setups([each.config for each in models])
        setups = read_setups(shared, setup, plan, has_gpu=gpu is not None)
        accelerator, _ = read_gpu(gpu, hardware)
        report = compare(changed, setups, accelerator)
        return Report(report, lambda: compare_view(report, as_keywords))

    @checked
    def estimate(
        self,
        *,
        gpu: str | None = None,
        hardware: str | os.PathLike[str] | None = None,
        plan: str | Layout | None = None,
        for_: Purpose | None = None,
        by: Literal["component", "layer"] = "component",
        attention_flops: AttentionCount = "causal",
        full: bool = False,
        lora: LoraArgument | None = None,
        **setup: Unpack[SetupFields],
    ) -> Report[EstimateReport]:
        """Estimate FLOPs, memory, time and cost of training and serving; see ``tinylm estimate``.

        ``model.estimate(gpu="h100", gpus=16, plan="tp=2,zero=1", train_tokens="15B")``

        Args:
            gpu: A GPU listed by ``tinylm list --hardware``; None omits times.
            hardware: A file that describes further GPUs.
            plan: Parallel layout, as ``--plan`` takes it; None ranks every layout when ``gpu`` is given.
            for_: Estimate only ``training`` or only ``serving``, as ``--for`` does.
            by: Breakdown of FLOPs in the displayed report.
            attention_flops: ``causal`` counts the query-key pairs that the mask allows; ``full`` counts all T² pairs.
            full: Whether to display the full report instead of the summary; the data is the same.
            lora: Train the adapters of an ``adapter_config.json``, its folder, or its keys, on frozen weights.
            setup: The training and serving arguments.

        Raises:
            ConfigError: If the GPU is unknown, or the hardware file is invalid.
            AnalysisError: If a size is out of range, or the layout does not divide the model evenly.
            UsageError: If an argument or the plan is invalid, or the GPU does not support matmuls in the dtype.
        """
        from tinylm_cli.analysis.estimate import estimate
        from tinylm_cli.analysis.setups import Setups
        from tinylm_cli.render.views.estimate import estimate_full_view, estimate_view

        setups = with_lora(read_setups(Setups(), setup, plan, has_gpu=gpu is not None), lora, self.loaded)
        chosen, known = read_gpu(gpu, hardware)
        report = estimate(self.loaded, setups, chosen, purpose=for_, accelerators=known, attention=attention_flops)
        titled = replace(report, name=self._title)
        everything = partial(estimate_full_view, titled, by, as_keywords)
        return Report(report, everything if full else partial(estimate_view, titled, as_keywords), everything)

    @checked
    def validate(self, *, assert_: str | Iterable[str] = ()) -> Report[FileResult]:
        """Check the config's budget and further assertions; see ``tinylm validate``.

        Args:
            assert_: Assertions as for ``--assert``, e.g. ``"total_params < 130M"``.

        Raises:
            ConfigError: If an assertion cannot be parsed.
        """
        from tinylm_cli.analysis.budget_check import ASSERTABLE, check_budget
        from tinylm_cli.config.assertion import read_assertions
        from tinylm_cli.render.views.validate import validate_view

        asserted = read_assertions([assert_] if isinstance(assert_, str) else tuple(assert_), ASSERTABLE)
        result = check_budget(self.loaded, asserted)
        report = ValidateReport.of([result])
        return Report(result, lambda: validate_view(report, as_keywords), listing=report)

    @checked
    def verify(self, *, partial: bool = False) -> Report[VerifyReport]:
        """Verify that the checkpoint in the folder of this config contains the tensors that the config implies.

        See ``tinylm verify``. Only the headers of the files are read; torch is not imported.

        Args:
            partial: Whether to allow absent files; their tensors are compared by name only.

        Raises:
            InputError: If the model was not loaded from a folder or a GGUF file.
            WeightsError: If there are no safetensors files, or their index cannot be read.
        """
        return verified(self.reference, self.changes, self.source_text.policy.ignored, partial=partial)

    @checked
    def lint(
        self,
        *,
        for_: Target | Iterable[Target] = TARGETS,
        tp: Annotated[int, Bounds(1, 1024)] = 1,
        gpu: str | None = None,
        hardware: str | os.PathLike[str] | None = None,
        strict: bool = False,
    ) -> Report[LintReport]:
        """Check whether other libraries and engines can express the model; see ``tinylm lint``.

        Args:
            for_: The targets.
            tp: GPUs of tensor parallelism.
            gpu: The GPU whose multiples count; None for any.
            hardware: A file that describes further GPUs.
            strict: Whether warnings are errors.

        Raises:
            ConfigError: If the GPU is unknown, or the hardware file is invalid.
            UsageError: If a target is unknown.
        """
        from tinylm_cli.analysis.portability.lint import lint
        from tinylm_cli.interop.portability import express_for
        from tinylm_cli.render.views.lint import lint_view

        targets = (for_,) if isinstance(for_, str) else tuple(for_)
        accelerator, _ = read_gpu(gpu, hardware)
        expressions = express_for(self.loaded, targets)
        report = lint(self.loaded, expressions, tp=tp, accelerator=accelerator, strict=strict)
        return Report(report, lambda: lint_view(report))

    @checked
    def build(
        self,
        *,
        seed: Seed = 0,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | str = "float32",
        weights: str | os.PathLike[str] | None = None,
    ) -> TinyTransformerLM:
        """Build the PyTorch model. This imports torch.

        Args:
            seed: Seed of the random initialization; the same seed gives the same weights on every device.
            device: Device of the weights; ``meta`` gives shapes without storage.
            dtype: Data type of the weights.
            weights: A folder to load instead of random initialization: one that :meth:`save` or
                ``tinylm build --save`` wrote, or one in Hugging Face format.

        Raises:
            CapacityError: If the weights exceed this machine's memory, or the model has more than 500,000 tensors.
            UnableError: If this machine has no such device.
            UsageError: If ``device`` is not a device, or ``dtype`` not one of bfloat16, float16, float32, float64.
            WeightsError: If the weights do not match this model.
        """
        from tinylm_cli.analysis.cpu_memory import module_bytes

        module_bytes(self.config)  # raises CapacityError for too many tensors
        import torch

        from tinylm_cli.interop.weights.load_model import open_model
        from tinylm_cli.model import TinyTransformerLM
        from tinylm_cli.model.input_checks import usable_device

        name = str(dtype).removeprefix("torch.") if isinstance(dtype, torch.dtype) else dtype
        read("dtype", name, DType)
        device, stored = usable_device(device), getattr(torch, name)
        if weights is not None:
            return open_model(Path(weights), config=self.config, device=device, dtype=stored)
        return TinyTransformerLM.from_config(self.config, seed=seed, device=device, dtype=stored)

    @checked
    def with_changes(self, changes: Changes) -> Model:
        """Return this model with further changes, without reading its file again.

        Args:
            changes: Fields to change, as for :func:`load`.

        Raises:
            ConfigError: If a change is invalid.
            UsageError: If a change is not ``key=value``.
        """
        return self._changed((*self.changes, *read_changes(changes)))

    def _changed(self, changes: tuple[str, ...]) -> Model:
        """Return this model with ``changes`` in place of its own."""
        from tinylm_cli.interop.load import parse_config_text

        return replace(self, loaded=parse_config_text(self.source_text, changes), changes=changes)

    def _variant(self, argument: Mapping[str, Any] | str | os.PathLike[str]) -> Model:
        """Resolve ``argument`` as ``tinylm compare`` would, relative to this model."""
        from tinylm_cli.interop.variants import Variant, parse_variant

        if isinstance(argument, Mapping):
            return self.with_changes(argument)
        variant = parse_variant(reference_of(argument), Variant(self.reference, self.changes))
        if variant.reference == self.reference:
            return self._changed(variant.changes)
        return load(variant.reference, set=variant.changes)


def verified(folder: str, changes: tuple[str, ...], ignored: tuple[str, ...], *, partial: bool) -> Report[VerifyReport]:
    """Verify the checkpoint in a folder; for the arguments see :meth:`Model.verify` and :func:`load`."""
    from tinylm_cli.analysis.tensor_table import stored_shapes
    from tinylm_cli.interop.verification.verify import config_of, verify_checkpoint
    from tinylm_cli.render.views.verify import verify_view

    report = verify_checkpoint(folder, config_of(folder, ignored), changes, stored_shapes, partial=partial)
    return Report(report, lambda: verify_view(report))
