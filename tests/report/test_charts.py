"""Charts: numbers beside and below an axis are whole and apart, whatever their length."""
import re

import pytest

from ra_plugin.report.charts import _axis, _numbers_apart, steps_chart
from ra_plugin.results import Estimate


@pytest.mark.parametrize('scale', [0.002, 0.05, 3, 4000])
def test_numbers_beside_the_axis_are_within_the_drawing(scale):
    estimates = [Estimate(-scale, -3 * scale, scale)]
    svg = str(steps_chart('PSNR', 'dB', ['1e-3'], {'all': estimates}, ('weight', 'dB')).svg)
    left = float(re.search(r'viewBox="(\S+)', svg)[1])
    beside = re.findall(r'<text class="tick" x="(\S+)" y="\S+" text-anchor="end">([^<]+)<', svg)
    assert any(label.startswith('\u2212') for _, label in beside)
    assert all(float(x) - 6.5 * len(label) >= left for x, label in beside)  # as wide as a digit of the page's font


@pytest.mark.parametrize('low, high', [(11.336, 11.338), (-11.336, -11.334), (20, 30), (0, 1e-9), (1e5, 1e6)])
def test_numbers_below_the_axis_are_apart(low, high):
    axis = _axis([low, high], 38, 258)
    numbers = _numbers_apart(axis)
    assert numbers
    ends = [(axis(value) - 3.25 * len(label), axis(value) + 3.25 * len(label)) for value, label in numbers.items()]
    assert all(end < start for (_, end), (start, _) in zip(ends, ends[1:], strict=False))
