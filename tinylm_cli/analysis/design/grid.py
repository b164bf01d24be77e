"""The grid that ``tinylm design`` searches: sizes that hardware likes, in proportions that models have."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor


@dataclass(frozen=True)
class Grid:
    """What every family is searched over; what differs between families is in :mod:`.families`.

    Attributes:
        d_models: Widths, finer where they are small. Multiples of 64 fill the tensor cores of a GPU at two bytes a
            number, and multiples of 128 the tiles of a matrix product too (NVIDIA 2023, Matrix Multiplication
            Background User's Guide).
        n_layers: Depths.
        aspects: Least and greatest d_model / n_layers. The loss hardly depends on it over this range (Kaplan et al.
            2020, figure 5, https://arxiv.org/abs/2001.08361); models narrower for their depth waste layers, and wider
            ones width (Levine et al. 2020, https://arxiv.org/abs/2006.12467).
        d_ff_steps: From which width on d_ff is a multiple of what, the widest last; 256 is LLaMA's ``multiple_of``
            (Touvron et al. 2023, https://arxiv.org/abs/2302.13971).
    """

    d_models: tuple[range, ...] = (
        range(128, 2048, 64),
        range(2048, 4096, 128),
        range(4096, 8192, 256),
        range(8192, 16384 + 1, 512),
    )
    n_layers: range = range(2, 128 + 1)
    aspects: tuple[int, int] = (16, 256)
    d_ff_steps: tuple[tuple[int, int], ...] = ((0, 64), (1024, 256), (8192, 512))

    def depths(self, d_model: int) -> range:
        """Return the depths of models of a width: consecutive, perhaps none."""
        least, greatest = self.aspects
        first = max(self.n_layers.start, ceil(d_model / greatest))
        return range(first, max(first, min(self.n_layers.stop, d_model // least + 1)))

    def d_ffs(self, d_model: int, ratios: tuple[float, float]) -> range:
        """Return the feed-forward widths of a width, ``ratios`` being the least and the greatest d_ff / d_model."""
        step = next(step for start, step in reversed(self.d_ff_steps) if start <= d_model)
        least, greatest = ratios
        return range(ceil(least * d_model / step) * step, floor(greatest * d_model / step) * step + 1, step)


GRID = Grid()
