"""dev/export_check.py: rows of networks that are exported for any size, for one size, and not."""
import re

import pytest
from test_onnx_file import Missing, OfTheTrace

from dev import export_check
from ra_plugin.archs import SpandrelNetwork


@pytest.mark.slow
def test_rows(monkeypatch):
    name, sizes, number, difference = export_check.row('Compact')
    assert (name, sizes, number) == ('Compact', 'any size', 'any number') and re.fullmatch(r'\d+e-0[78]', difference)
    monkeypatch.setattr(SpandrelNetwork, 'run', lambda self, x: OfTheTrace()(self.model(x)))
    assert export_check.row('Compact')[:3] == ('Compact', 'one size', 'any number')
    monkeypatch.setattr(SpandrelNetwork, 'run', lambda self, x: Missing()(self.model(x)))
    assert export_check.row('Compact') == ('Compact', 'refused', '', '')


@pytest.mark.slow
def test_a_network_of_another_purpose():
    assert export_check.row('LaMa') == ('LaMa', 'no restorer', '', '')
