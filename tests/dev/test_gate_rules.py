"""Rules that choose between the restored and the given image: their numbers, shares and table."""
import numpy as np
import pytest

from dev import gate_rules
from dev.gate_rules import Answers, certainty, entropy, inputs, oracle, share, table

RIGHT, WRONG, UNSURE = [0.9, 0.1], [0.1, 0.9], [0.6, 0.4]


def answers(given, restored, change=(0.1, 0.1), level=(0.01, 0.01)):
    """Return answers of two classifiers to images of class 0."""
    return Answers({'a': np.array(given), 'b': np.array(given)}, {'a': np.array(restored), 'b': np.array(restored)},
                   np.array(change), np.array(level), np.zeros(len(given), int))


def test_the_numbers_of_the_rules():
    one = answers([RIGHT, UNSURE], [WRONG, RIGHT])
    np.testing.assert_allclose(certainty(one, 'a'), [0, 0.3])
    np.testing.assert_allclose(entropy(one, 'a'), [0, -0.6 * np.log(0.6) - 0.4 * np.log(0.4) + 0.9 * np.log(0.9)
                                                   + 0.1 * np.log(0.1)], atol=1e-12)
    assert list(oracle(one, 'a')) == [0, 1]


def test_half_once_and_twice_the_degradation():
    assert [block['sigma'] for block in inputs({'type': 'GaussianNoise', 'sigma': 0.1})[1].values()] == [0.05, 0.1, 0.2]
    kind, jpeg = inputs({'type': 'JPEGCompression', 'quality': 10})
    assert kind == 'jpeg' and [block['quality'] for block in jpeg.values()] == [20, 10, 5]


def test_a_share_is_a_ratio_of_means_and_of_a_sure_gain_alone():
    whole = np.tile([1.0, 0, 1, 0], 50)
    assert share(whole / 2, whole) == '50 [50, 50]'
    assert share(whole, whole * np.tile([1, 1, -1, 1], 50)) == 'none to speak of'


@pytest.mark.parametrize(('rule', 'harm', 'gain'), [
    ('change', '100', '100'), ('noise (', '100', '0'), ('oracle', '100', '100')])
def test_the_table_has_the_shares_of_harm_and_gain(rule, harm, gain, monkeypatch):
    monkeypatch.setattr(gate_rules, '_RESAMPLES', 100)
    clean = answers([RIGHT] * 50, [WRONG, RIGHT] * 25, np.full(50, 0.01), np.full(50, 0.03))
    noisy = answers([WRONG] * 50, [WRONG, RIGHT] * 25, np.full(50, 0.2), np.full(50, 0.02))
    test = dict(zip(['clean', 'half', 'trained', 'twice'], [clean, noisy, noisy, noisy], strict=True))
    held_out = answers([RIGHT] * 2, [RIGHT] * 2, (0.05, 0.05), (0.035, 0.035))
    lines = list(table({'clean': held_out}, test, 'noise', 'a', ['b']))
    assert lines[2] == '| given | 100.0 | 0.0 | 0.0 | 0.0 | 50.0 |'
    cells = next(line for line in lines if line.startswith(f'| {rule}')).split(' | ')
    assert cells[1].split()[1] == harm and cells[3].split()[1] == gain
