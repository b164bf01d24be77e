"""Mutants that change nothing a test could see, for ``mutants.py``."""

from __future__ import annotations

_LAST_OF_TWO = "the tensor has two dimensions, so dimension 1 is the last"

EQUIVALENT: dict[tuple[str, str, str, int], str] = {
    (
        "tinylm_cli/config/layer_kinds.py",
        "shortest_period",
        "len(cycle) + 1 → len(cycle) + 2",
        0,
    ): "the length of the cycle is always found before",
    (
        "tinylm_cli/config/syntax_errors.py",
        "_bad_escape",
        "error.source.text.rfind('\\\\', 0, error.at + 1) → error.source.text.rfind('\\\\', 1, error.at + 1)",
        0,
    ): "a quote precedes the backslash, which is therefore never first",
    (
        "tinylm_cli/config/yaml_scalar.py",
        "_escaped",
        "code < 65536 → code < 65537",
        0,
    ): "the character of this code is printable, and is not escaped",
    (
        "tinylm_cli/interop/families/mimo.py",
        "MiMoV2FlashKeys.to_tinylm",
        "super().to_tinylm(to) → pass",
        0,
    ): "no class above it maps keys",
    (
        "tinylm_cli/interop/tensor_pairs.py",
        "_alternating_shape",
        "shapes[0] → shapes[1]",
        0,
    ): "the two weights, of gate and up projections, have the same shape",
    (
        "tinylm_cli/model/checkpoint.py",
        "_matching_dtype",
        "Counter((tensor.dtype for tensor in stored.values())).most_common(1) → "
        "Counter((tensor.dtype for tensor in stored.values())).most_common(2)",
        0,
    ): "only the first is read",
    (
        "tinylm_cli/model/checks/causality.py",
        "causality_perturbation",
        "changed[:, position + 1:] + 1 → changed[:, position + 1:] - 1",
        0,
    ): "any other token will do",
    ("tinylm_cli/model/experts.py", "Router.route", "-1 → 1", 4): _LAST_OF_TWO,
    ("tinylm_cli/model/sampling.py", "SamplingParams.sample", "-1 → 1", 6): _LAST_OF_TWO,
}
"""Why each changes nothing: by module, function, change, and its number among the same changes of that function."""
