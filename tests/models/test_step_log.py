"""The log of a step stays on the device, or has numbers if a user's code may replace or read it."""
import copy
import json
import logging

import pytest
import test_recog_aware_hosts as hosts
import test_recog_aware_model as classify
import torch
from basicsr.models.sr_model import SRModel

from ra_plugin.models.builder import run_ready
from ra_plugin.models.recog_aware_model import recog_aware
from ra_plugin.models.step_log import StepLogMixin, numbers


class TalkativeModel(SRModel):
    """Model with a user's own log."""

    def optimize_parameters(self, current_iter):
        super().optimize_parameters(current_iter)
        self.calls = getattr(self, 'calls', 0) + 1
        self.log_dict.update(calls=self.calls, double=torch.tensor(2.5, dtype=torch.float64),
                             one=torch.tensor([3.5]), phase=f'batch {self.calls}')


@pytest.mark.parametrize('accum_iter', [1, 2])
@pytest.mark.parametrize('bad', [False, True])
def test_a_class_may_log_what_is_no_loss(accum_iter, bad, monkeypatch):
    said, name = [], 'a class that talks'
    monkeypatch.setattr(logging.getLogger('basicsr'), 'warning', said.append)
    monkeypatch.setitem(hosts.HOSTS, name, (TalkativeModel, *hosts.HOSTS['SRModel'][1:]))
    model = run_ready(recog_aware(TalkativeModel))(hosts.options(name, recog_opt=hosts.RECOG, accum_iter=accum_iter))
    said.clear()
    for batch in copy.deepcopy(hosts.batches(2, 'SRModel')):
        if bad:
            batch['lq'][0, 0, 0, 0] = float('nan')
        model.feed_data(batch)
        model.optimize_parameters(1)
    log = numbers(model.get_current_log())
    again = numbers(model.get_current_log())
    assert str(log) == str(again)  # NaN, too
    assert {'l_pix', 'l_recog'} < log.keys()
    assert (log['calls'], log['double'], log['one'], log['phase']) == (2 if accum_iter == 1 else 1.5, 2.5, 3.5,
                                                                       'batch 2')
    assert len(said) == (2 // accum_iter if bad else 0) and all('l_pix nan' in line for line in said)


def test_what_is_no_number_stays_as_it_is():
    assert numbers({'a': torch.tensor(1.5), 'b': 2, 'many': [1, 2], 'c': torch.tensor([3])}) == {
        'a': 1.5, 'b': 2, 'many': [1, 2], 'c': 3}


class OwnLogModel(SRModel):
    """Model with a user's own log: written to a file in each step, with a further number and other names."""

    def optimize_parameters(self, current_iter):
        super().optimize_parameters(current_iter)
        assert all(isinstance(value, float) for value in self.log_dict.values())
        self.lines = [*getattr(self, 'lines', ()), json.dumps(self.log_dict)]

    def reduce_loss_dict(self, loss_dict):
        return {f'mine_{name}': value for name, value in super().reduce_loss_dict(loss_dict).items()}

    def get_current_log(self):
        return {**super().get_current_log(), 'temperature': 2.0}


@pytest.mark.parametrize('recog', [True, False])
@pytest.mark.parametrize('steps', [1, 2])
def test_a_class_with_a_log_of_its_own_keeps_it(tmp_path, recog, steps):
    opt = classify.options(tmp_path, **({'recog_opt': classify.RECOG} if recog else {}), accum_iter=steps)
    torch.manual_seed(0)
    model = run_ready(recog_aware(OwnLogModel) if recog else OwnLogModel)(opt)
    for batch in classify.batches(steps):
        model.feed_data(batch)
        model.optimize_parameters(1)
    names = {'mine_l_pix', *(['mine_l_recog'] if recog else ())}
    assert len(model.lines) == steps and json.loads(model.lines[0]).keys() == names
    log = model.get_current_log()
    assert log.keys() == {*names, 'temperature'} and log['temperature'] == 2
    assert all(isinstance(value, float) for value in log.values())


def test_that_of_basicsr_is_read_when_it_is_asked_for(tmp_path):
    model = classify.build(classify.options(tmp_path, recog_opt=classify.RECOG))
    assert sum(base is StepLogMixin for base in type(model).__mro__) == 1
    classify.train(model, classify.batches(1))
    assert all(isinstance(value, torch.Tensor) for value in model.log_dict.values())
    assert all(isinstance(value, float) for value in model.get_current_log().values())


def test_numbers_of_tensors_of_several_types_and_shapes():
    log = {'a': torch.tensor([0.1]), 'b': torch.tensor(2 ** 40 + 1), 'c': torch.tensor(0.1, dtype=torch.float64),
           'd': 3.0, 'e': 'words', 'f': torch.tensor(0.5, requires_grad=True), 'g': torch.ones(2)}
    read = numbers(log)
    assert list(read) == list(log) and read['a'] == pytest.approx(0.1) and read['b'] == 2 ** 40 + 1
    assert (read['c'], read['d'], read['e'], read['f']) == (0.1, 3.0, 'words', 0.5) and read['g'] is log['g']
    assert numbers({}) == {}
