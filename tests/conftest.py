"""Shared fixtures: a fixed seed, a GPU if there is one, a tiny smooth recognizer, and counters for the summary."""
import logging
import os
from collections import Counter

import pytest
import torch
from torch import nn

from ra_plugin import compat
from ra_plugin.recognizers import ModuleRecognizer

if compat.installed('basicsr'):
    import ra_plugin.basicsr  # noqa: F401 - test files may import basicsr above ra_plugin

SOAK = int(os.environ.get('RA_PLUGIN_SOAK', 1))  # how many times as many kills and inputs ``make soak`` tries
_COUNTED = pytest.StashKey[Counter]()


@pytest.fixture(scope='session')
def count(request):
    """Return a function that counts an event for the summary, e.g. ``count('kills')``."""
    counted = request.config.stash.setdefault(_COUNTED, Counter())
    return lambda kind, number=1: counted.update({kind: number})


@pytest.hookimpl(tryfirst=True)  # before those with other markers are left out
def pytest_collection_modifyitems(items):
    for item in items:
        if 'driver' in item.fixturenames:  # a page in a browser
            item.add_marker(pytest.mark.browser)


def pytest_sessionfinish(session):
    if hasattr(session.config, 'workeroutput'):  # a worker of pytest-xdist: the process with the summary adds them up
        session.config.workeroutput['counted'] = dict(session.config.stash.get(_COUNTED, Counter()))


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    counted = node.config.stash.setdefault(_COUNTED, Counter())
    counted.update(getattr(node, 'workeroutput', {}).get('counted', {}))


def pytest_terminal_summary(terminalreporter, config):
    for kind, number in sorted(config.stash.get(_COUNTED, Counter()).items()):
        terminalreporter.write_line(f'{number} {kind}')


@pytest.fixture(params=['cuda' if torch.cuda.is_available() else 'cpu'])
def device(request):
    """Return a GPU if there is one, without TF32, since results are compared with float64 on the CPU."""
    kept = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    yield torch.device(request.param)
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = kept


@pytest.fixture(autouse=True)
def fixed_seed():
    torch.manual_seed(0)


@pytest.fixture
def no_log(monkeypatch):
    """Return ``no_log()``, after which no run has a log, so that warnings are Python's."""
    return lambda: monkeypatch.setattr(logging.getLogger('basicsr'), 'handlers', [])


class TanhNet(nn.Module):
    """Convolution, tanh, mean over the pixels and a linear layer: smooth, as gradcheck needs it."""

    def __init__(self, num_classes=4):
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3, stride=2)
        self.head = nn.Linear(5, num_classes)
        with torch.no_grad():
            self.head.weight.mul_(5)  # answers that differ from image to image

    def forward(self, x):
        return self.head(torch.tanh(self.conv(x)).mean((2, 3)))


@pytest.fixture
def tiny_recognizer():
    """Return ``tiny_recognizer(num_classes=4, seed=0)``, which builds a ModuleRecognizer of a TanhNet in float64."""

    def build(num_classes=4, seed=0, **kwargs):
        torch.manual_seed(seed)
        arguments = {'mean': [0.5, 0.4, 0.3], 'std': [0.2, 0.3, 0.4], **kwargs}
        return ModuleRecognizer(TanhNet(num_classes).double(), **arguments)

    return build


@pytest.fixture
def images():
    """Return two random images in float64 that are not square."""
    return torch.rand(2, 3, 10, 12, dtype=torch.float64)
