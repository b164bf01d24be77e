"""Match the names of the tensors in a Hugging Face checkpoint with the tensors that a model has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import NamedTuple

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import WeightsError
from tinylm_cli.interop.tensor_names import TensorNames, replace_prefix
from tinylm_cli.interop.tensor_pairs import Pair, Shape, base_prefix, constant_tensors, tensor_pairs, without_base


class Match(NamedTuple):
    """The tensors that a model has, and the stored tensors that are not among them, by what they are."""

    pairs: list[Pair]  # Every tensor that the checkpoint must contain, under its name in this checkpoint.
    constants: dict[str, float]  # Stored scalars with the value that the code of the family gives them.
    unused: dict[str, Shape]  # Stored tensors that the code of the family requires, but does not use.
    skipped: tuple[str, ...]  # Tensors of other parts of a larger (e.g. multimodal) model.
    recomputed: tuple[str, ...]  # Buffers that are recomputed, such as causal masks and RoPE frequencies.
    tied_heads: tuple[str, ...]  # LM heads that are stored although they are tied to the embedding.
    unexpected: tuple[str, ...]  # All others.


def match_tensors(
    config: ModelConfig,
    names: TensorNames,
    shapes: Mapping[str, Shape],
    stored: Mapping[str, Shape | None],
    max_pairs: int | None = None,
) -> Match:
    """Match the tensors in a checkpoint by their names.

    Args:
        config: The model's config.
        names: The family's tensor names.
        shapes: Shape of each model tensor by full name; a tied tensor under its first name only.
        stored: Shape of each stored tensor by name; None if only the name is known.
        max_pairs: Maximum number of tensors that the checkpoint must contain; None for any number.

    Raises:
        WeightsError: If it must contain more.
    """
    expected = list(islice(tensor_pairs(config, names, shapes), None if max_pairs is None else max_pairs + 1))
    if max_pairs is not None and len(expected) > max_pairs:
        raise WeightsError(f"a checkpoint of this config has more than {max_pairs:,} tensors, too many to compare")
    expected = _renamed(expected, names, stored)
    pairs = _with_stored_rows(expected, stored)
    constants = {
        stored_name: value
        for name, value in constant_tensors(config, names).items()
        for stored_name in _spellings(name, names)
        if stored_name in stored
    }
    unused = {name: shape for name, shape in names.unused_tensors(config).items() if name in stored}
    known = {pair.stored for pair in pairs} | constants.keys() | unused.keys()
    others: dict[str, list[str]] = {kind: [] for kind in ("skipped", "recomputed", "tied_heads", "unexpected")}
    for name in stored:
        if name not in known:
            others[_kind(name, config, names)].append(name)
    return Match(pairs, constants, unused, **{kind: tuple(found) for kind, found in others.items()})


def _kind(name: str, config: ModelConfig, names: TensorNames) -> str:
    """Return the field of :class:`Match` for a stored tensor that the model does not have."""
    if names.skipped_prefixes and name.startswith(names.skipped_prefixes):
        return "skipped"
    if names.is_recomputed(name):
        return "recomputed"
    return "tied_heads" if config.tie_weights and name in names.lm_heads else "unexpected"


def _renamed(expected: list[Pair], names: TensorNames, stored: Mapping[str, Shape | None]) -> list[Pair]:
    """Return the pairs under the names in the checkpoint.

    Checkpoints of a larger (e.g. multimodal) model use another name prefix; headless checkpoints omit the prefix. Some
    spell a part of a name in another way.
    """
    expected = [
        pair if pair.stored in stored else pair._replace(stored=_respelled(pair.stored, names)) for pair in expected
    ]
    for prefix_map in names.prefix_maps:
        renamed = [pair._replace(stored=replace_prefix(prefix_map, pair.stored)) for pair in expected]
        if renamed[0].stored in stored:
            return renamed
    base = base_prefix(expected)
    return expected if any(name.startswith(base) for name in stored) else without_base(expected)


def _respelled(name: str, names: TensorNames) -> str:
    for part, other in names.other_spellings.items():
        name = name.replace(part, other)
    return name


def _with_stored_rows(expected: list[Pair], stored: Mapping[str, Shape | None]) -> list[Pair]:
    """Return the pairs with the rows of each tensor that is stored as several, if there are as many rows in all.

    transformers concatenates the rows when it reads them, and divides them equally when it writes them.
    """
    pieces: dict[str, list[Pair]] = {}
    for pair in expected:
        if isinstance(pair.parts[0].selection, slice):
            pieces.setdefault(pair.parts[0].name, []).append(pair)
    found: dict[str, Pair] = {}
    for pairs in pieces.values():
        shapes = [stored.get(pair.stored) for pair in pairs]
        lengths = [shape[0] for shape in shapes if shape]
        if len(lengths) == len(pairs) and sum(lengths) == sum(pair.stored_shape[0] for pair in pairs):
            for pair, length in zip(pairs, lengths, strict=True):
                part = pair.parts[0]
                shape = (length, *part.shape[1:])
                found[pair.stored] = pair._replace(parts=(part._replace(shape=shape),), stored_shape=shape)
    return [found.get(pair.stored, pair) for pair in expected]


def _spellings(name: str, names: TensorNames) -> Iterator[str]:
    """Yield the names that a stored tensor may have: with and without the base module, or in a larger model."""
    yield name
    yield name.partition(".")[2]
    yield from (replace_prefix(prefix_map, name) for prefix_map in names.prefix_maps)
