"""Rules that tie several fields together.

Each rule is a plain function over the values of the fields it names, so that the same rule speaks when a config is
built in Python and when a file is diagnosed with some of its other fields broken.
"""

from tinylm_cli.config.rules.check import RULES, broken_rules
from tinylm_cli.config.rules.rule import Problem, Rule

__all__ = ["RULES", "Problem", "Rule", "broken_rules"]
