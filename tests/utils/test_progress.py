"""Progress of a training run: a bar on a terminal, lines in a log file, curves for TensorBoard."""
import contextlib
import fcntl
import os
import pty
import re
import struct
import sys
import termios

import pytest
import runs

from ra_plugin.utils import progress


@pytest.mark.slow
def test_curves_go_to_tensorboard_and_go_on_after_a_stop(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    opt = runs.options(tmp_path, total_iter=4)
    opt['logger']['use_tb_logger'] = True
    assert runs.train(tmp_path, opt) == 0, runs.output(tmp_path)
    opt['train']['total_iter'] = 6
    assert runs.train(tmp_path, opt, '--auto_resume') == 0, runs.output(tmp_path)
    curves = EventAccumulator(str(tmp_path / 'tb_logger' / 'run')).Reload()
    for name in ('losses/l_pix', 'losses/l_recog'):
        assert {event.step for event in curves.Scalars(name)} == {1, 2, 3, 4, 5, 6}
    for name in ('metrics/val/psnr', 'metrics/val/top1_vgg'):
        assert {event.step for event in curves.Scalars(name)} == {4, 6}


@pytest.mark.slow
def test_elsewhere_than_on_a_terminal_there_is_a_line_every_print_freq(tmp_path):
    opt = runs.options(tmp_path, total_iter=6)
    opt['logger']['print_freq'] = 2
    assert runs.train(tmp_path, opt) == 0
    said = runs.output(tmp_path)
    assert re.findall(r'iter: +(\d+), lr', said) == ['2', '4', '6'] and 'eta: ' in said
    assert '\x1b' not in said


@pytest.mark.slow
def test_on_a_terminal_there_is_a_bar_with_the_time_that_is_left(tmp_path):
    reader, writer = pty.openpty()
    fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack('HHHH', 24, 120, 0, 0))  # lines and columns

    def on_a_terminal():
        os.dup2(writer, 2)

    child = runs.start(tmp_path, runs.options(tmp_path, total_iter=6), before=on_a_terminal)
    os.close(writer)
    said = b''
    while True:
        try:
            part = os.read(reader, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        said += part
    os.close(reader)
    assert runs.finish(child) == 0
    shown = said.decode(errors='replace')
    assert re.search(r'run: +\d+%\|.*\| \d/6 \[\d\d:\d\d<', shown) and 'l_recog' in shown


def test_a_reader_that_has_gone_does_not_end_the_work(monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    monkeypatch.setattr(progress, '_SECONDS_BETWEEN_LOG_LINES', 0)
    with contextlib.suppress(BrokenPipeError), os.fdopen(writer, 'w', 1) as broken:  # which closing it raises, too
        monkeypatch.setattr(sys, 'stderr', broken)
        with pytest.raises(BrokenPipeError):
            broken.write('nobody reads this\n')
        assert list(progress.progress(range(3))) == [0, 1, 2]
