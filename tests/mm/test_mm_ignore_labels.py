"""IgnoreLabels writes 255 for 'no class', and changes nothing else."""
import numpy as np
import pytest
from mmseg.registry import TRANSFORMS

from ra_plugin.mm import IgnoreLabels

pytestmark = pytest.mark.mm


def test_only_the_given_values_become_255():
    label = np.arange(256, dtype=np.uint8).reshape(16, 16)
    ours = IgnoreLabels([11, 200])({'gt_seg_map': label, 'other': 1})
    expected = label.copy()
    expected[0, 11] = expected[12, 8] = 255
    assert ours['gt_seg_map'].dtype == np.uint8 and ours['other'] == 1
    np.testing.assert_array_equal(ours['gt_seg_map'], expected)


def test_mmseg_builds_it_from_a_config():
    with TRANSFORMS.switch_scope_and_registry('mmseg') as registry:
        transform = registry.build(dict(type='IgnoreLabels', values=[1]))
    assert transform({'gt_seg_map': np.uint8([[0, 1]])})['gt_seg_map'].tolist() == [[0, 255]]


@pytest.mark.parametrize('value', [-1, 256, 1.0, '11', True])
def test_a_value_that_no_file_can_hold_is_one_line(value):
    with pytest.raises(ValueError, match='IgnoreLabels.values: expected .* 0 to 255'):
        IgnoreLabels([value])
