"""Tensors saved between the passes of looped layers."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from tinylm_cli.analysis.loop import Pass, passes
from tinylm_cli.analysis.saved_tensors.norm import norm
from tinylm_cli.analysis.saved_tensors.saved_tensor import ForwardPass, SavedTensor, deduplicated


def normalized_passes(run: ForwardPass) -> tuple[Pass, ...]:
    """Return the passes whose output the final norm normalizes before another pass of the loop reads it."""
    if not run.config.norm.is_final:
        return ()
    return tuple(each for each, later in pairwise(passes(run.config)) if later.is_looped)


def saved_after_pass(run: ForwardPass) -> tuple[SavedTensor, ...]:
    """Return the tensors that the norm of the output of one pass saves; sums of hidden states save nothing.

    Follows ``model/loop.py:Loop.forward``.
    """
    nbytes = run.tokens * run.config.d_model * run.element_bytes  # B × T × D
    output = SavedTensor("pass output", "loop", nbytes, "sequence")
    return deduplicated(norm(run, "norm of a pass", output, run.tokens, run.config.d_model))


def saved_between_passes(run: ForwardPass) -> Iterator[SavedTensor]:
    """Yield the tensors that the norms between all passes save."""
    n_norms = len(normalized_passes(run))
    for tensor in saved_after_pass(run) if n_norms else ():
        yield tensor._replace(nbytes=n_norms * tensor.nbytes)
