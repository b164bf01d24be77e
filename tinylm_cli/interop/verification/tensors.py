"""Compare the stored tensors with those that a config implies, by name, shape and dtype."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from tinylm_cli.interop.checkpoint_tensors import Match
from tinylm_cli.interop.tensor_pairs import Pair, Shape
from tinylm_cli.interop.verification.collapsed_names import first_index, role
from tinylm_cli.interop.verification.quantized import Quantization, companion_of, holder_names
from tinylm_cli.reports.verify import ApartKind
from tinylm_cli.safetensors_header import DTYPE_BITS

FLOATS = ("F64", "F32", "F16", "BF16")
"""Dtypes of weights that are not quantized."""

_MTP_MODULES = frozenset({"eh_proj", "enorm", "hnorm"})
"""Modules that only multi-token prediction modules have, in layers after the last one."""


class Stored(NamedTuple):
    """A stored tensor; of an absent file, only the name is known."""

    shape: Shape | None
    dtype: str | None
    nbytes: int | None
    path: str


class Finding(NamedTuple):
    """One difference in one tensor."""

    code: str
    name: str
    expected: Shape | None = None
    found: Shape | None = None
    detail: str = ""  # More that the message says.
    parts: tuple[str, ...] = ()  # The tensors of the model that a tensor of another shape holds.


class Comparison(NamedTuple):
    """The result of comparing all tensors."""

    findings: list[Finding]
    expected: dict[str, Shape]  # The shape of each tensor that the config implies.
    checked: int  # Tensors with the expected shape.
    name_only: int  # Tensors of which only the name is known.
    quantized: int  # Tensors that are stored packed.
    apart: dict[ApartKind, list[str]]


class Comparer:
    """Compares the tensors of one checkpoint with one config.

    Args:
        match: The tensors that the config implies, and the others.
        stored: The stored tensors by name.
        quantization: How the checkpoint is quantized; None if it is not.
        n_mtp_layers: Multi-token prediction modules that the config names.
    """

    def __init__(
        self, match: Match, stored: Mapping[str, Stored], quantization: Quantization | None, n_mtp_layers: int
    ) -> None:
        self._match, self._stored = match, stored
        self._quantization, self._n_mtp_layers = quantization, n_mtp_layers
        self._counts: Counter[str] = Counter()
        self._holders: set[str] = set()
        self._expected = {pair.stored: pair.stored_shape for pair in match.pairs}

    def compare(self) -> Comparison:
        """Return every difference in names and shapes."""
        findings = [*self._missing_or_reshaped(), *self._extra_shapes()]
        apart: dict[ApartKind, list[str]] = {
            "tied_head": list(self._match.tied_heads),
            "recomputed": list(self._match.recomputed),
            "constant": list(self._match.constants),
            "unused": list(self._match.unused),
        }
        for name in self._match.skipped:
            apart.setdefault("multi_token_prediction" if _is_mtp(name) else "other_part", []).append(name)
        modules = self._mtp_layers()
        for name in self._match.unexpected:
            kind = self._kind(name, modules)
            if kind is None:
                findings.append(Finding("unknown-tensor", name, None, self._stored[name].shape))
            else:
                apart.setdefault(kind, []).append(name)
        counts = self._counts
        apart = {kind: names for kind, names in apart.items() if names}
        return Comparison(findings, self._expected, counts["checked"], counts["name_only"], counts["quantized"], apart)

    def _missing_or_reshaped(self) -> Iterator[Finding]:
        for pair in self._match.pairs:
            info = self._stored.get(pair.stored)
            if info is None:
                if not self._is_packed(pair):
                    yield Finding("missing-tensor", pair.stored, pair.stored_shape)
            elif info.shape is None:
                self._counts["name_only"] += 1
            elif info.shape == pair.stored_shape:
                self._counts["checked"] += 1
            elif self._quantization and info.dtype not in FLOATS and self._quantization.holds(pair, info.nbytes):
                self._counts["quantized"] += 1
            else:
                parts = tuple(part.name for part in pair.parts)
                yield Finding("tensor-shape", pair.stored, pair.stored_shape, info.shape, parts=parts)

    def _is_packed(self, pair: Pair) -> bool:
        """Return whether another tensor holds the packed values of a pair."""
        if self._quantization is None:
            return False
        for name in holder_names(pair.stored):
            info = self._stored.get(name)
            if info is not None and self._quantization.holds(pair, info.nbytes):
                self._holders.add(name)
                self._counts["quantized"] += 1
                return True
        return False

    def _extra_shapes(self) -> Iterator[Finding]:
        """Yield the stored tensors that no parameter is read from, if their shapes are wrong."""
        table = self._match.pairs[0].stored_shape
        expected = {
            **dict.fromkeys(self._match.tied_heads, table),
            **dict.fromkeys(self._match.constants, ()),
            **self._match.unused,
        }
        for name, shape in expected.items():
            found = self._stored[name].shape
            if found not in (None, shape):
                yield Finding("tensor-shape", name, shape, found)

    def _kind(self, name: str, mtp_layers: Mapping[str, range]) -> ApartKind | None:
        """Return what an unexpected tensor is; None for a difference."""
        if _is_mtp(name):
            return "multi_token_prediction"
        place = first_index(name)
        if place is not None and place[1] in mtp_layers.get(place[0], ()):
            return "multi_token_prediction"
        if self._quantization is None:
            return None
        owner = name if name in self._holders else companion_of(name)
        if owner is None:
            return None
        known = name in self._holders or any(f"{owner}{end}" in self._expected for end in ("", ".weight"))
        return "quantization" if known or owner.rpartition(".")[2] in ("self_attn", "attention") else None

    def _mtp_layers(self) -> dict[str, range]:
        """Return the layers after the last one that are multi-token prediction modules, by what is before the index."""
        counts: dict[str, int] = {}
        for name in self._expected:
            place = first_index(name)
            if place is not None:
                counts[place[0]] = max(counts.get(place[0], 0), place[1] + 1)
        found = {prefix: range(count, count + self._n_mtp_layers) for prefix, count in counts.items()}
        for name in self._match.unexpected:
            place = first_index(name)
            if place is not None and place[1] >= counts.get(place[0], 0) and _MTP_MODULES & {*name.split(".")}:
                count = counts.get(place[0], 0)
                found[place[0]] = range(count, max(place[1] + 1, found.get(place[0], range(0)).stop))
        return found


def _is_mtp(name: str) -> bool:
    return any(word == "mtp" or word.startswith("mtp_") for word in name.split("."))


def other_dtypes(expected: Mapping[str, Shape], stored: Mapping[str, Stored]) -> Iterator[Finding]:
    """Yield tensors that are not floating-point, and tensors whose dtype differs from the same one in other layers."""
    roles: dict[str, list[tuple[str, str]]] = {}
    for name in expected:
        info = stored.get(name)
        if info is not None and info.dtype is not None:
            if info.dtype in FLOATS:
                roles.setdefault(role(name), []).append((name, info.dtype))
            elif info.dtype in DTYPE_BITS:  # byte_ranges.py reports others
                yield Finding("tensor-dtype", name, detail=f"{info.dtype}, not a floating-point dtype")
    usual = main_dtype(stored)
    for tensors in roles.values():
        counts = Counter(dtype for _, dtype in tensors)
        if len(counts) > 1:
            common = max(counts, key=lambda dtype: (counts[dtype], dtype == usual))
            for name, dtype in tensors:
                if dtype != common:
                    yield Finding("tensor-dtype", name, detail=f"{dtype}, not {common} as in other layers")


def main_dtype(stored: Mapping[str, Stored]) -> str | None:
    """Return the floating dtype that most bytes have; None if no tensor has one."""
    sizes: Counter[str] = Counter()
    for info in stored.values():
        if info.dtype in FLOATS and info.nbytes is not None:
            sizes[info.dtype] += info.nbytes
    return max(sizes, key=lambda dtype: sizes[dtype], default=None)
