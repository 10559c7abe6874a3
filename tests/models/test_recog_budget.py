"""The controller of the recognition budget, its landing, and its options."""
import math

import pytest
import torch
from basicsr.models import build_model
from test_recog_aware_model import RECOG, batches, options

from ra_plugin.models.recog_budget import Budget, between, landing_share


def test_the_controller_settles_on_the_budget_whatever_the_weight_costs():
    """The plant is the one that was measured: the cost follows weight^1.1, seen through an average and with noise."""
    generator = torch.Generator().manual_seed(0)
    for price in (0.002, 0.05, 3.0):
        budget, cost = Budget(0.1), 0.0
        budget.psnr_at_start = 28.0
        for _ in range(40):
            cost += 0.6 * (price * budget.factor ** 1.1 - cost)
            budget.add(28.0 - cost - 0.005 * torch.randn((), generator=generator).item())
        assert cost == pytest.approx(0.1, abs=0.03), price


def test_the_first_measurements_change_nothing_and_no_change_is_large():
    budget = Budget(0.1)
    budget.psnr_at_start = 28.0
    assert [(budget.add(20.0), budget.factor) for _ in range(3)] == [(8.0, 1.0)] * 3
    budget.add(20.0)
    assert budget.factor == pytest.approx(math.exp(-0.7))
    budget.add(29.0)
    assert budget.factor == pytest.approx(1.0)


def test_the_weight_stays_within_a_hundred_times_the_given_one():
    budget = Budget(0.1)
    budget.psnr_at_start = 28.0
    for value, factor in ((29.0, 100.0), (20.0, 0.01)):
        for _ in range(40):
            budget.add(value)
        assert budget.factor == factor


def test_a_controller_goes_on_from_its_state():
    one, other = Budget(0.1), Budget(0.1)
    one.psnr_at_start = 28.0
    for value in (27.9, 27.8, 27.95, 27.7):
        one.add(value)
    other.load_state_dict(one.state_dict())
    assert one.add(27.85) == other.add(27.85) and one.factor == other.factor


@pytest.mark.parametrize(('cost', 'share'), [
    (0.1, 1.0), (0.09, math.sqrt(0.1 / 0.09)), (0.4, 0.5), (10.0, 0.1), (0.03, 1.25), (0.0, 1.0), (-0.2, 1.0)])
def test_landing_ends_where_the_budget_is_used(cost, share):
    """PSNR falls with the square of the share: a trained network is at its highest PSNR."""
    found = landing_share(lambda part: 28 - cost * part ** 2, 28 - 0.1)
    assert found == pytest.approx(share, abs=2e-3)
    assert cost * found ** 2 <= 0.1


def test_networks_between_two():
    start, end = ({'weight': torch.tensor([0., 4.]) + 2 * i, 'num_batches_tracked': torch.tensor(3 + i)}
                  for i in (0, 1))
    found = between(start, end, 0.25)
    assert found['weight'].tolist() == [0.5, 4.5] and found['num_batches_tracked'] == 4


def test_the_gradient_of_the_recognition_loss_is_multiplied_by_the_factor(tmp_path):
    """The step of a budget with factor 3 is that of three times the weight."""
    found = {}
    for name, weight, factor in (('budget', 0.01, 3.0), ('weight', 0.03, None)):
        opt = options(tmp_path, recog_opt={**RECOG, 'loss_weight': weight})
        if factor:
            opt['train']['recog_budget'] = {'max_psnr_drop': 0.1}
        torch.manual_seed(0)
        model = build_model(opt)
        if factor:
            model.budget.factor = factor
        model.feed_data(next(iter(batches(1))))
        model.optimize_parameters(1)
        found[name] = [parameter.grad for parameter in model.net_g.parameters()]
        assert ('recog_factor' in model.log_dict) == bool(factor)
    for a, b in zip(*found.values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-8)
