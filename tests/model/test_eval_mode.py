from __future__ import annotations

import pytest
from torch import nn

from tinylm_cli.model.eval_mode import eval_mode


def test_each_module_returns_to_its_own_mode() -> None:
    model = nn.Sequential(nn.Dropout(), nn.Dropout()).train()
    model[1].eval()

    def fail_inside() -> None:
        with eval_mode(model.modules()):
            assert not any(module.training for module in model.modules())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_inside()
    assert [module.training for module in model.modules()] == [True, True, False]
