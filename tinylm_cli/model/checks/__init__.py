"""The laws of a model, each tried on the real module: what ``tinylm check`` runs."""

from tinylm_cli.model.checks.context import ClosedForm
from tinylm_cli.model.checks.run import run_checks

__all__ = ["ClosedForm", "run_checks"]
