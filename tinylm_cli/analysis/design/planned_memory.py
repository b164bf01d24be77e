"""Training memory of pipelines with several kinds of layers: which candidates fit, computed for as few as possible.

The numbers of layers of each kind in a stage have no closed form, and a model takes about a millisecond. The memory
never decreases as a size grows: of models with the same heads, all fit if a model with the largest d_model, d_ff and
n_layers among them does, and none fits if one with the smallest does not. Otherwise each half of them is decided in the
same way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import heapify, heappop, heappush
from itertools import count, groupby

from tinylm_cli.analysis.design.ranking import Candidate
from tinylm_cli.analysis.design.search import OnProgress, SearchTooLargeError
from tinylm_cli.analysis.design.search_space import SearchSpace
from tinylm_cli.analysis.parallel.plan import plan_bytes

MAX_PLANNED = 2000
"""Maximum number of models whose memory a search computes: about 3 seconds."""

MAX_PLANNED_FOR_SMALLEST = 500
"""Number of models after which the search for the smallest one stops."""


def candidates_within(
    space: SearchSpace, candidates: Sequence[Candidate], limit: float, on_progress: OnProgress
) -> list[Candidate]:
    """Return the candidates whose training memory is at most ``limit``, in their order.

    Args:
        space: The models that were searched.
        candidates: Models that satisfy every other constraint.
        limit: Bytes of one GPU.
        on_progress: Called with the number of decided candidates.

    Raises:
        SearchTooLargeError: If the memory of more than ``MAX_PLANNED`` models must be computed to decide.
    """
    memory = _Memory(space, len(candidates))
    fitting: set[int] = set()
    decided = 0
    pending = list(_same_heads(candidates))
    while pending:
        part = pending.pop()
        if memory.of(part, max) <= limit:
            fitting.update(map(id, part))
        elif len(part) > 1 and memory.of(part, min) <= limit:
            pending += _halves(part)
            continue
        decided += len(part)
        on_progress("planning", decided, len(candidates))
    return [each for each in candidates if id(each) in fitting]


def smallest_candidate(space: SearchSpace, candidates: Sequence[Candidate]) -> tuple[Candidate, int]:
    """Return a candidate that needs the least training memory, with its bytes; there is at least one.

    After ``MAX_PLANNED_FOR_SMALLEST`` models, the candidate is one of those with the smallest lower bound.
    """
    memory = _Memory(space, len(candidates))
    order = count()  # of two parts with equal bounds, the earlier one comes first
    bounds = [(memory.of(part, min), next(order), part) for part in _same_heads(candidates)]
    heapify(bounds)
    while True:
        _, _, part = heappop(bounds)
        if len(part) == 1 or memory.n_planned >= MAX_PLANNED_FOR_SMALLEST:
            return part[0], memory.of(part[:1], min)  # no other part contains a model that needs less than its bound
        for half in _halves(part):
            heappush(bounds, (memory.of(half, min), next(order), half))


_VARYING: tuple[Callable[[Candidate], int], ...] = (
    lambda each: each.n_layers,
    lambda each: each.shape.d_model,
    lambda each: each.shape.d_ff,
)
"""The sizes that differ among models with the same heads."""


def _same_heads(candidates: Iterable[Candidate]) -> Iterator[Sequence[Candidate]]:
    def heads(each: Candidate) -> tuple[int, int, int]:
        return each.shape.d_head, each.shape.n_heads, each.shape.n_kv_heads

    return (tuple(group) for _, group in groupby(sorted(candidates, key=heads), heads))


def _halves(part: Sequence[Candidate]) -> tuple[Sequence[Candidate], Sequence[Candidate]]:
    """Divide candidates at the median of the size that varies most among them."""

    def ratio(size: Callable[[Candidate], int]) -> float:
        sizes = [size(each) for each in part]
        return max(sizes) / min(sizes)

    ordered = sorted(part, key=max(_VARYING, key=ratio))
    return ordered[: len(part) // 2], ordered[len(part) // 2 :]


class _Memory:
    """The memory of models of a search; counts them."""

    def __init__(self, space: SearchSpace, n_candidates: int) -> None:
        self._space, self._n_candidates, self.n_planned = space, n_candidates, 0

    def of(self, part: Sequence[Candidate], bound: Callable[[Iterable[int]], int]) -> int:
        """Return the bytes of the model with the largest, or smallest, sizes of candidates with the same heads."""
        self.n_planned += 1
        if self.n_planned > MAX_PLANNED:
            raise SearchTooLargeError(
                f"{self._n_candidates:,} models satisfy the other constraints; to decide which of them fit on"
                f" {self._space.training.n_gpus:,} GPUs, more than {MAX_PLANNED:,} would have to be planned",
                help="narrow the search, for example with a smaller tolerance or fewer values of d_model",
            )
        n_layers, d_model, d_ff = (bound(size(each) for each in part) for size in _VARYING)
        config = self._space.config(part[0].shape._replace(d_model=d_model, d_ff=d_ff), n_layers)
        return plan_bytes(config, self._space.training, self._space.layout)
