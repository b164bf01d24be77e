"""The checks of ``tinylm check``: properties that every model must have, each proven on the real module."""

from tinylm_cli.model.checks.context import ClosedForm
from tinylm_cli.model.checks.run import run_checks

__all__ = ["ClosedForm", "run_checks"]
