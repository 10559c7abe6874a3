"""What several test files need: a fixed seed, a tiny and smooth recognizer, and a count of what a run survived."""
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
    """``count('kills')``: one more of them, for the summary."""
    counted = request.config.stash.setdefault(_COUNTED, Counter())
    return lambda kind, number=1: counted.update({kind: number})


def pytest_terminal_summary(terminalreporter, config):
    for kind, number in sorted(config.stash.get(_COUNTED, Counter()).items()):
        terminalreporter.write_line(f'{number} {kind}')


@pytest.fixture(params=['cuda' if torch.cuda.is_available() else 'cpu'])
def device(request):
    """A GPU where there is one, float32 as float32: what it computes is compared with the CPU's float64."""
    kept = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    yield torch.device(request.param)
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = kept


@pytest.fixture(autouse=True)
def fixed_seed():
    torch.manual_seed(0)


class TanhNet(nn.Module):
    """One convolution, tanh, the mean over the pixels, one linear layer: smooth, so that gradcheck holds."""

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
    """``tiny_recognizer(num_classes=4, seed=0)``: a ModuleRecognizer of a TanhNet in float64, new in each call."""

    def build(num_classes=4, seed=0, **kwargs):
        torch.manual_seed(seed)
        arguments = {'mean': [0.5, 0.4, 0.3], 'std': [0.2, 0.3, 0.4], **kwargs}
        return ModuleRecognizer(TanhNet(num_classes).double(), **arguments)

    return build


@pytest.fixture
def images():
    """Two random images in float64, not square."""
    return torch.rand(2, 3, 10, 12, dtype=torch.float64)
