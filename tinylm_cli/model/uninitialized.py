"""Torch's own layers without the values torch would draw for them."""

from __future__ import annotations


class Unfilled:
    """Mixin, named before a torch layer, that leaves the layer's parameters unfilled when it is created.

    A model is assembled on meta and filled once, by :mod:`tinylm_cli.model.initialization` or from a file; layers that
    filled their parameters as well would spend most of the assembly's time on values nobody sees.
    """

    def reset_parameters(self) -> None:
        """Do nothing; values come from one place for the whole model."""
