"""The checks of ``tinylm check``: properties of every model, each verified on the built module."""

from tinylm_cli.model.checks.check import ExpectedParams
from tinylm_cli.model.checks.run import run_checks

__all__ = ["ExpectedParams", "run_checks"]
