"""Measure the peak bytes of live tensors during a computation, storage by storage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model import TinyTransformerLM
from tinylm_cli.model.block import TransformerBlock

_HOLDERS = (Tensor, list, tuple)

_is_expired = torch.UntypedStorage._expired  # of the storage at an address that a StorageWeakRef keeps from reuse


class _Alive(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it so
    """Tracks the storages that operations create, until they are freed."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak_bytes = 0
        self._held: dict[int, tuple[StorageWeakRef, int]] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Save the wrapper around each operation that keeps torch's compiler out; nothing is compiled here."""
        return False

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **kwargs) if kwargs else func(*args)
        created = {storage._cdata: storage for storage in _storages(out) if storage._cdata not in self._held}
        if created:
            for storage in _storages((args, list((kwargs or {}).values()))):
                created.pop(storage._cdata, None)  # the output is a view of an input from outside
        if created:  # nothing else can raise the peak
            self._held = {key: held for key, held in self._held.items() if not _is_expired(key)}
            for key, storage in created.items():
                self._held[key] = StorageWeakRef(storage), storage.nbytes()  # type: ignore[no-untyped-call]
            self.peak_bytes = max(self.peak_bytes, sum([nbytes for _, nbytes in self._held.values()]))
        return out


def _storages(values: object) -> list[Any]:
    """Return the storages of the tensors among the arguments of an operation."""
    if isinstance(values, Tensor):
        return [values.untyped_storage()]
    if isinstance(values, list | tuple):
        return [storage for value in values if isinstance(value, _HOLDERS) for storage in _storages(value)]
    return []


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


def prefill_peak(config: ModelConfig, batch_size: int, seq_len: int, dtype: torch.dtype) -> int:
    """Return the peak bytes of the first layer's mixer in a pass without gradients, with x and norm(x)."""
    block = TinyTransformerLM.from_config(config, dtype=dtype).blocks[0]
    assert isinstance(block, TransformerBlock)
    (mixer,) = block.mixers
    x = torch.zeros(batch_size, seq_len, config.d_model, dtype=dtype)  # (B, T, D)
    with torch.no_grad():
        return 2 * x.nbytes + peak_bytes(lambda: mixer(x))
