"""Logs of classes that log as they like: numbers of any type, text, with NaN and over several batches."""
import copy
import logging

import pytest
import test_recog_aware_hosts as hosts
import torch
from basicsr.models.sr_model import SRModel

from ra_plugin.models.builder import run_ready
from ra_plugin.models.recog_aware_model import recog_aware
from ra_plugin.models.step_log import numbers


class TalkativeModel(SRModel):
    """Somebody's own log."""

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
    log = dict(model.get_current_log())
    assert log == pytest.approx(dict(model.get_current_log()), nan_ok=True)  # read twice
    assert {'l_pix', 'l_recog'} < log.keys()
    assert (log['calls'], log['double'], log['one'], log['phase']) == (2 if accum_iter == 1 else 1.5, 2.5, 3.5,
                                                                       'batch 2')
    assert len(said) == (2 // accum_iter if bad else 0) and all('l_pix nan' in line for line in said)


def test_what_is_no_number_stays_as_it_is():
    assert numbers({'a': torch.tensor(1.5), 'b': 2, 'many': [1, 2], 'c': torch.tensor([3])}) == {
        'a': 1.5, 'b': 2, 'many': [1, 2], 'c': 3}
