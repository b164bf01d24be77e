"""The classes that targets implement, compared with the families that tinylm exports and with transformers."""

from __future__ import annotations

import transformers

from tinylm_cli.interop.engines import ENGINES
from tinylm_cli.interop.families import FAMILIES
from tinylm_cli.interop.frameworks import FRAMEWORKS
from tinylm_cli.interop.heads import class_name
from tinylm_cli.reports.lint import TARGETS

CLASSES = {name for family in FAMILIES.values() if (name := class_name(family, "lm")) is not None}


def test_every_class_is_of_a_family() -> None:
    """A misspelled class would never be found."""
    assert [*ENGINES, *FRAMEWORKS] == list(TARGETS)
    for engine in ENGINES.values():
        listed = (engine.classes or frozenset()) | engine.through_transformers | (engine.refused or frozenset())
        assert listed <= CLASSES
        assert engine.unsplit | engine.ignores_windows <= (engine.classes or frozenset())
        assert not engine.through_transformers & (engine.classes or frozenset())


def test_refused_by_transformers() -> None:
    """vLLM runs any other class whose attention transformers can replace."""
    vllm = ENGINES["vllm"]
    assert vllm.classes is not None
    incompatible = set()
    for name in CLASSES - vllm.classes - vllm.through_transformers:
        model = getattr(transformers, name, None)
        if model is not None and not (model.is_backend_compatible() or model._can_set_attn_implementation()):
            incompatible.add(name)
    assert frozenset(incompatible) == vllm.refused
