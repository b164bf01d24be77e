"""Token shift: the vector before each position, whole and in pieces."""

from __future__ import annotations

import pytest
import torch

from tinylm_cli.model.sequence_mixer import Computed
from tinylm_cli.model.token_shift import initial_mix, shift_tokens


def test_vectors_before() -> None:
    x = torch.arange(1.0, 9.0).view(1, 4, 2)
    assert shift_tokens(x).tolist() == [[[0, 0], [1, 2], [3, 4], [5, 6]]]


@pytest.mark.parametrize("lengths", [[7], [1] * 7, [3, 1, 3]])
def test_pieces(lengths: list[int]) -> None:
    """The last vector of a piece comes before the next piece."""
    x, last = torch.randn(2, 7, 3), torch.zeros(2, 1, 3)
    pieces = [shift_tokens(piece, last) for piece in torch.split(x, lengths, dim=1)]
    assert torch.cat(pieces, dim=1).equal(shift_tokens(x))
    assert last.equal(x[:, -1:])


def test_initial_coefficients() -> None:
    """(i/4)² + 1/2 for i = 0..3."""
    values, initial = torch.empty(4), initial_mix(2.0, 0.5)
    assert isinstance(initial, Computed)
    initial.fill(values)
    assert values.tolist() == [0.5, 0.5625, 0.75, 1.0625]
