"""Measure the peak bytes of live tensors during a computation, storage by storage."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class _Alive(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it so
    """Tracks the storages that operations create, until they are freed."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak_bytes = 0
        self._held: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {storage._cdata for storage in _storages((args, kwargs))}
        out = func(*args, **(kwargs or {}))
        for key in [key for key, (reference, _) in self._held.items() if reference.expired()]:  # type: ignore[no-untyped-call]
            del self._held[key]
        for storage in _storages(out):
            if storage._cdata not in given:  # otherwise a view of an input, or the input
                reference = StorageWeakRef(storage)  # type: ignore[no-untyped-call]
                self._held[storage._cdata] = (reference, storage.nbytes())
        self.peak_bytes = max(self.peak_bytes, sum(nbytes for _, nbytes in self._held.values()))
        return out


def _storages(tree: object) -> Iterable[Any]:
    return [leaf.untyped_storage() for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def peak_bytes(compute: Callable[[], object]) -> int:
    """Return the peak bytes of live tensors that ``compute`` creates.

    Workspace inside a kernel is not seen; nor are the parts of a composite operation in inference mode, which must be
    off.
    """
    assert not torch.is_inference_mode_enabled()
    alive = _Alive()
    with alive:
        compute()
    return alive.peak_bytes
