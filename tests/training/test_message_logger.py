"""The log of a training shows the time left: the mean time per iteration times the remaining iterations."""
import logging
import re
import time

import pytest
from test_option_file import base

from ra_plugin.training.loop import message_logger


@pytest.mark.parametrize('done_before', [0, 40])
def test_the_time_that_is_left(done_before, monkeypatch, caplog):
    opt = base()
    opt['train']['total_iter'] = 1e2  # as YAML reads it
    clock = [1000.0]
    monkeypatch.setattr(time, 'time', lambda: clock[0])
    message = message_logger(opt, done_before)
    monkeypatch.setattr(message.logger, 'propagate', True)
    left = {}
    with caplog.at_level(logging.INFO, 'basicsr'):
        for iteration in range(done_before + 1, 101):
            clock[0] += 60  # a minute each
            caplog.clear()
            message({'epoch': 0, 'iter': iteration, 'lrs': [1e-3], 'time': 60.0, 'data_time': 0.0, 'l_pix': 0.5})
            left[iteration] = re.search(r'\[eta: (.*?), time', caplog.text)[1]
    assert left[100] == '0:00:00' and left[99] == '0:01:00' and left[done_before + 1] == (
        f'{(99 - done_before) // 60}:{(99 - done_before) % 60:02d}:00')
    assert not [text for text in left.values() if 'day' in text]
