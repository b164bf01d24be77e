"""From targets to configs: an exact search of a stated grid of shapes in closed form, ranked."""

from typing import Literal

DEFAULT_FAMILY: Literal["course"] = "course"

DEFAULT_TOLERANCE = 0.02
"""Tolerance of a target: nominal sizes have two or three significant digits."""

DEFAULT_TOP = 10
"""Number of designs that a search returns."""
