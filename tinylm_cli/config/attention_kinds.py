"""The kinds of attention as papers abbreviate them: MHA, GQA, MQA and MLA.

MHA has as many KV heads as query heads, GQA fewer, MQA one; MLA is latent attention.

References:
    Vaswani et al. 2017, multi-head attention, https://arxiv.org/abs/1706.03762
    Shazeer 2019, multi-query attention, https://arxiv.org/abs/1911.02150
    Ainslie et al. 2023, grouped-query attention, https://arxiv.org/abs/2305.13245
    DeepSeek-AI 2024, multi-head latent attention, https://arxiv.org/abs/2405.04434
"""

from __future__ import annotations

from collections.abc import Iterator

from tinylm_cli.config.diagnostic_codes import diagnostic
from tinylm_cli.config.yaml_nodes import Entry, Node, find_entry
from tinylm_cli.errors import Diagnostic, Label
from tinylm_cli.wording import SET

ABBREVIATIONS = {"mha": "multi_head", "gqa": "multi_head", "mqa": "multi_head", "mla": "latent"}

_FIELD = "attention.n_kv_heads"


def qualified(key: str, value: str) -> str:
    """Return ``attention.kind`` for the change ``kind=mla``, whose value no other ``kind`` has; else ``key``."""
    return "attention.kind" if key == "kind" and value.strip().casefold() in ABBREVIATIONS else key


def expand_attention_kinds(root: Node) -> Iterator[Diagnostic]:
    """Replace abbreviated kinds of attention by their fields, in place, in the config and in its kinds of layers.

    ``mqa`` sets ``n_kv_heads: 1`` where the config does not. A kind given by ``--set`` overrides the file's
    ``n_kv_heads``.

    Args:
        root: The tree of a config, overrides included.

    Yields:
        Contradictions between a kind of attention and the KV heads.
    """
    layer_kinds = find_entry(root, ["layers", "kinds"])
    nodes = [entry.value for entry in ((layer_kinds and layer_kinds.value.entries) or {}).values()]
    for node in (root, *nodes):
        contradiction = _expand(node, _integer(find_entry(node, ["n_heads"]) or find_entry(root, ["n_heads"])))
        if contradiction is not None:
            yield contradiction


def _expand(node: Node, n_heads: int | None) -> Diagnostic | None:
    block, kind = find_entry(node, ["attention"]), find_entry(node, ["attention", "kind"])
    if block is None or block.value.entries is None or kind is None or not isinstance(kind.value.scalar, str):
        return None
    word = kind.value.scalar.casefold()
    if word not in ABBREVIATIONS:
        return None
    kind.value.scalar = ABBREVIATIONS[word]
    given = block.value.entries.get("n_kv_heads")
    if given is not None and kind.value.span.source == SET != given.value.span.source and word in ("mha", "mqa"):
        del block.value.entries["n_kv_heads"]
        given = None
    if word == "mqa" and given is None:
        block.value.entries["n_kv_heads"] = Entry(kind.key_span, Node(kind.value.span, written="1", scalar=1))
    return _contradiction(word, kind, given, n_heads)


def _contradiction(word: str, kind: Entry, given: Entry | None, n_heads: int | None) -> Diagnostic | None:
    n_kv_heads = _integer(given)
    if n_heads is None or (n_kv_heads is None and (word != "gqa" or given is not None)):
        return None
    if n_kv_heads is None:
        message, remedy = f"gqa requires {_FIELD}, the number of KV heads", f"write {_FIELD}: {_fewer(n_heads)}"
    elif word == "gqa" and n_kv_heads >= n_heads:
        message = f"gqa requires fewer KV heads than n_heads {n_heads}, not {_FIELD} {n_kv_heads}"
        remedy = f"write {_FIELD}: {_fewer(n_heads)}, or attention.kind: mha"
    elif (word == "mqa" and n_kv_heads != 1) or (word == "mha" and n_kv_heads != n_heads):
        has = "one KV head" if word == "mqa" else f"{n_heads} KV heads, one per query head"
        message = f"{word} has {has}, not {_FIELD} {n_kv_heads}"
        remedy = f"omit {_FIELD}, or write attention.kind: gqa"
    else:
        return None
    span = kind.value.span
    labels = () if given is None else (Label(given.value.span, f"{_FIELD} is {given.value.written}"),)
    code, message = "needs-field" if given is None else "contradiction", f"attention.kind {message}"
    return diagnostic(code, message, span.source, span, field="attention.kind", help=remedy, labels=labels)


def _fewer(n_heads: int) -> int:
    """Return a usual number of KV heads: a quarter of the heads, or the divisor just below."""
    most = max(n_heads // 4, min(n_heads, 2))
    return next(divisor for divisor in range(most, 0, -1) if n_heads % divisor == 0)


def _integer(entry: Entry | None) -> int | None:
    value = entry.value.scalar if entry is not None else None
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
