"""Every module has a test file, and every test file a module: the rule of CONTRIBUTING.md, and its exceptions."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "tinylm_cli"
TESTS = ROOT / "tests"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.stem not in ("__init__", "__main__"))

TESTED_IN = {
    "analysis/estimate.py": "cli/test_estimate.py",
    "analysis/feed_forward.py": "analysis/test_params.py",
    "analysis/portability": "analysis/test_portability.py",
    "analysis/saved_tensors": "analysis/test_saved_tensors.py",
    "analysis/tensor.py": "analysis/test_params.py",
    "api": "test_api.py",
    "cli/app.py": "cli/test_shell.py",
    "cli/design_options.py": "cli/test_design.py",
    "cli/design_output.py": "cli/test_design.py",
    "cli/options.py": "cli/test_command.py",
    "cli/plan_option.py": "cli/test_estimate_errors.py",
    "cli/serving_options.py": "cli/test_estimate_errors.py",
    "cli/training_options.py": "cli/test_estimate_errors.py",
    "cli/workload_options.py": "cli/test_estimate_errors.py",
    "config/base.py": "config/test_dependencies.py",
    "config/budget.py": "analysis/test_budget_check.py",
    "config/feed_forward.py": "config/test_blocks.py",
    "config/lora.py": "interop/test_lora_targets.py",
    "config/loop.py": "config/test_loop_rules.py",
    "config/mixers": "config/test_blocks.py",
    "config/requirements.py": "config/test_dependencies.py",
    "config/storage.py": "config/test_schema.py",
    "config/storage_rules.py": "config/test_rules.py",
    "config/yaml_nodes.py": "config/test_yaml_reader.py",
    "interop/checkpoint_tensors.py": "interop/weights/test_import_weights.py",
    "interop/families": "interop/test_families.py",
    "interop/gguf/family_keys.py": "interop/gguf/test_config_keys.py",
    "interop/gguf/export_plan.py": "interop/weights/test_export_gguf.py",
    "interop/gguf/family.py": "cli/test_export.py",
    "interop/gguf/metadata.py": "interop/weights/test_export_gguf.py",
    "interop/gguf/package.py": "cli/test_params.py",
    "interop/layer_rope.py": "interop/test_export_config.py",
    "interop/lora_modules.py": "interop/test_lora_targets.py",
    "interop/mamba2_keys.py": "interop/test_export_config.py",
    "interop/mamba_keys.py": "interop/test_export_config.py",
    "interop/safetensors_index.py": "interop/weights/test_safetensors_folder.py",
    "interop/typed_layers.py": "interop/test_export_config.py",
    "interop/variants.py": "cli/test_variants.py",
    "interop/verification": "interop/verification/test_verify.py",
    "interop/verification/byte_ranges.py": "interop/verification/test_stored_files.py",
    "interop/weights/checkpoint.py": "interop/weights/test_import_weights.py",
    "model/adapter.py": "model/test_shared_block.py",
    "model/mixers/delta_rule.py": "model/mixers/test_gated_deltanet.py",
    "model/sequence_mixer.py": "model/test_any_architecture.py",
    "render/document.py": "render/test_markdown.py",
    "render/views/estimate_summary.py": "cli/test_estimate.py",
    "render/views/families.py": "cli/test_list.py",
    "render/views/flops.py": "cli/test_estimate.py",
    "render/views/gguf.py": "cli/test_params.py",
    "render/views/hardware.py": "cli/test_list.py",
    "render/views/lora.py": "cli/test_lora_option.py",
    "render/views/plan.py": "cli/test_estimate.py",
    "render/views/presets.py": "cli/test_list.py",
    "render/views/remedies.py": "cli/test_estimate.py",
    "reports": "docs/test_json_page.py",
}
"""The test file of modules without one of their own name: of a module, or of a folder of modules."""


COMMAND_PARTS = ("render/views", "reports")
"""Folders with a view and a record of each command, which the test file of the command tests."""

WHOLE = {
    "analysis/test_hyper_connections.py": "holds the costs of hyper-connections, which every part of analysis counts",
    "cli/test_deep_models.py": "runs commands on 100,000 layers",
    "cli/test_gguf.py": "runs every command that takes a config on a GGUF file",
    "cli/test_hostile.py": "text from outside enters and leaves through every command",
    "cli/test_loaded_modules.py": "counts what whole commands load",
    "cli/test_no_network.py": "runs every command under an audit hook",
    "cli/test_shell.py": "runs real processes, with pipes and signals",
    "cli/test_tables.py": "compares the tables of every command with its JSON",
    "cli/test_terminal.py": "shows every command at many widths and in many locales",
    "config/test_bad_corpus.py": "validates the files of tests/bad",
    "docs/test_console_examples.py": "runs the console blocks of several pages",
    "fuzzing/test_checks.py": "gives the fuzzer's own checks sound and unsound outcomes",
    "fuzzing/test_fuzzing.py": "feeds mutated input to every command",
    "interop/test_parity.py": "compares imported and exported models with transformers",
    "interop/test_published_oddities.py": "counts small configs with the oddities of published ones",
    "interop/test_short_yaml.py": "writes models of every family short and reads them back",
    "model/test_any_architecture.py": "tries drawn configs on the whole model",
    "model/test_gallery.py": "builds every shipped config",
    "model/test_logits.py": "compares the whole model with GPT-2 and with the papers",
    "model/test_references.py": "looks up the functions that docstrings of analysis name",
    "test_layers.py": "reads the whole package",
    "test_mirror.py": "compares the names of all test files with the package",
    "test_packaging.py": "installs the whole package",
}
"""Test files without a module, and their subject."""


@cache
def subject(test: Path) -> Path | None:
    """Return the module, folder or page with the longest name that begins the name of a test file in the same place."""
    folder = test.parent.relative_to(TESTS)
    top = ROOT if folder.parts[:1] in (("benchmarks",), ("docs",), ("examples",)) else PACKAGE
    words = test.stem.split("_")[1:]
    for count in range(len(words), 0, -1):
        name = "_".join(words[:count])
        pages = [ROOT / f"{name.upper()}.md"] if top == ROOT else []
        files = [top / folder / file for file in (f"{name}.py", f"{name}_.py", f"{name}.md", name)]
        found = next((path for path in (*files, *pages) if path.exists()), None)
        if found is not None:
            return found
    return None


@cache
def files_by_name() -> dict[Path, list[Path]]:
    """Return the test files of each module, folder and page by their names."""
    found: dict[Path, list[Path]] = {}
    for test in sorted(TESTS.rglob("test_*.py")):
        of = subject(test)
        if of is not None:
            found.setdefault(of, []).append(test)
    return found


def files_testing(module: Path) -> list[Path]:
    """Return the test files of a module: of its name, of the table, of its command, or of its folder."""
    module = module.parent if module.stem == "__init__" else module
    if module in files_by_name():
        return files_by_name()[module]
    place = module.relative_to(PACKAGE)
    if str(place) in TESTED_IN:
        return [TESTS / TESTED_IN[str(place)]]
    command = PACKAGE / "cli" / module.name
    if str(place.parent) in COMMAND_PARTS and command.exists():
        return files_testing(command)
    return [TESTS / TESTED_IN[str(folder)] for folder in place.parents if str(folder) in TESTED_IN]


@pytest.mark.parametrize("subpackage", sorted({path.relative_to(PACKAGE).parts[0] for path in MODULES}))
def test_every_module_has_a_test_file(subpackage: str) -> None:
    modules = [path for path in MODULES if path.relative_to(PACKAGE).parts[0] == subpackage]
    assert [str(path.relative_to(PACKAGE)) for path in modules if not files_testing(path)] == []


def test_every_test_file_has_a_module() -> None:
    """Of its name, ``test_compare_gpus.py`` for ``compare.py``, or of the table; else it is about the whole."""
    paths = sorted(TESTS.rglob("test_*.py"))
    assert len(paths) > len(WHOLE)
    assert [str(path.relative_to(TESTS)) for path in paths if subject(path) is None] == sorted(WHOLE)


def test_exceptions_are_needed() -> None:
    for name, test in TESTED_IN.items():
        assert (TESTS / test).is_file(), test
        place = PACKAGE / name
        modules = [place] if place.suffix else [path for path in MODULES if place in path.parents]
        assert any(path not in files_by_name() for path in modules), f"{name} has test files of its name"
