"""docs/api.md is generated from the docstrings of the public functions and classes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_type_hints

import tinylm_cli as tinylm
from tinylm_cli.analysis.setups import UNQUANTIZED, ServingSetup, TrainingSetup
from tinylm_cli.api import amounts
from tinylm_cli.api.arguments import accepted
from tinylm_cli.api.params import By
from tinylm_cli.api.references import Changes
from tinylm_cli.api.setups import FIELDS, SetupFields
from tinylm_cli.config.choices import DType
from tinylm_cli.reports.choices import AttentionCount, Optimizer, Purpose, Recompute
from tinylm_cli.reports.params import Convention

PAGE = Path(__file__).resolve().parents[2] / "docs" / "api.md"

TYPES = {
    "AttentionCount": AttentionCount,
    "By": By,
    "Changes": Changes,
    "Convention": Convention,
    "DType": DType,
    "Optimizer": Optimizer,
    "Purpose": Purpose,
    "Recompute": Recompute,
    **{name: type_ for name, type_ in vars(amounts).items() if hasattr(type_, "__metadata__")},
}

SHOWN = ("load", "Model", "verify", "sweep", "design", "Report")

HEAD = """# The Python API

Generated from the docstrings; `pytest --update-golden` rewrites it.

```python
import tinylm_cli as tinylm
```

Each name is imported when it is first used; only `Model.build` and `tinylm.TinyTransformerLM` import torch. Keyword
arguments have the names of the commands' [options](cli.md): `--kv-cache-dtype` is `kv_cache_dtype`. Where Python
reserves a word, an underscore follows: `--for` is `for_` and `--assert` is `assert_`. Amounts are numbers, or text as
in the options: `seq_len="8k"`, `train_tokens="15B"`, `max_kv_bytes="1GiB"`, `utilization="40%"`. Reports have the
fields of their [JSON](json.md). Their text, and messages of errors, show keyword arguments where the commands show
options.

Functions raise the same errors as the commands; all derive from `tinylm.TinylmError`. `ConfigError` has every error
in `diagnostics`, each with its position and remedy. `AnalysisError` means that a valid config does not allow the
request. All others derive from `UnableError`: `UsageError`, `InputError`, `OutputError`, `CapacityError` and
`WeightsError`.
"""


def test_the_page(golden: Callable[[Path, str], None]) -> None:
    parts = [HEAD]
    for name in SHOWN:
        shown = getattr(tinylm, name)
        if inspect.isclass(shown):
            parts.append(f"## {name}\n\n{_text(shown)}\n")
            parts += [_described(f"{name}.{member}", value) for member, value in _members(shown)]
        else:
            parts.append(_described(name, shown, level="##"))
        if name == "Model":
            parts.append(_setup_arguments())
    parts.append(_types("\n".join(parts)))
    golden(PAGE, "\n".join(parts))


def test_every_function_is_shown() -> None:
    public = {getattr(tinylm, name) for name in tinylm.__all__}
    assert {each.__name__ for each in public if inspect.isfunction(each)} | {"Model", "Report"} == set(SHOWN)


def _setup_arguments() -> str:
    """Return the section on the arguments of ``SetupFields``: their values, defaults and meaning."""
    about, _, attributes = (inspect.getdoc(SetupFields) or "").replace("``", "`").partition("\n\nAttributes:\n")
    meanings: dict[str, str] = dict(re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", attributes, re.MULTILINE))
    annotations = get_type_hints(SetupFields, include_extras=True)
    assert meanings.keys() == annotations.keys()
    defaults = {**ServingSetup()._asdict(), **TrainingSetup()._asdict(), **UNQUANTIZED._asdict(), "method": None}
    others: dict[str, str] = {**FIELDS, "quantize": "method", "quantize_head": "head"}
    rows = [
        f"| `{name}` | {accepted(annotations[name])} | `{defaults.get(others.get(name, name))!r}`"
        f" | {' '.join(meaning.split())} |"
        for name, meaning in meanings.items()
    ]
    table = "\n".join(["| argument | values | default | meaning |", "| --- | --- | --- | --- |", *rows])
    return f"## Training and serving arguments\n\n{about}\n\n{table}\n"


def _types(page: str) -> str:
    """Return the section on the types that the signatures name."""
    named = {name: type_ for name, type_ in sorted(TYPES.items()) if re.search(rf"[:|] {name}\b", page)}
    assert TYPES.keys() - named.keys() <= vars(amounts).keys()  # whose other types only **setup has
    rows = [f"| `{name}` | {accepted(type_)} |" for name, type_ in named.items()]
    return "\n".join(["## Types\n", "| name | values |", "| --- | --- |", *rows]) + "\n"


def _members(shown: type) -> Iterator[tuple[str, Any]]:
    for name, value in vars(shown).items():
        if not name.startswith("_") and (inspect.isfunction(value) or isinstance(value, property)):
            yield name, value


def _described(name: str, value: Any, *, level: str = "###") -> str:
    if isinstance(value, property):
        return f"{level} {name}\n\n{_text(value)}\n"
    signature = inspect.signature(value)
    given = [parameter for parameter in signature.parameters.values() if parameter.name != "self"]
    call = re.sub(r"(: |-> )(['\"])(.*?)\2(?=,| =|\)|$)", r"\1\3", str(signature.replace(parameters=given)))  # strings
    owner, _, function = name.rpartition(".")
    wrapped = _wrapped(f"{owner.lower() or 'tinylm'}.{function}", call)
    return f"{level} {name}\n\n```python\n{wrapped}\n```\n\n{_text(value)}\n"


def _wrapped(name: str, call: str) -> str:
    """Return a call on one line or, when that is long, with a line for each parameter."""
    if len(name) + len(call) <= 100:
        return f"{name}{call}"
    inside, _, returned = call[1:].rpartition(") -> ")
    parameters = re.split(r", (?=\*|[a-z_]+: )", inside)
    return "\n".join([f"{name}(", *(f"    {each}," for each in parameters), f") -> {returned}"])


def _text(shown: Any) -> str:
    """Return a docstring in Google style as markdown."""
    doc = inspect.getdoc(shown) or ""
    doc = re.sub(r":(?:meth|func|class):`(?:\w+\.)*(\w+)`", r"`\1`", doc).replace("``", "`")
    doc = re.sub(r"^(Args|Attributes|Raises):\n", r"\1:\n\n", doc, flags=re.MULTILINE).replace("Args:", "Arguments:")
    return re.sub(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", _item, doc, flags=re.MULTILINE)


def _item(found: re.Match[str]) -> str:
    return f"- `{found[1]}`: {' '.join(found[2].split())}"
