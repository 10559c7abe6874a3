"""BasicSR's VGG with random weights, for checks that must not download half a gigabyte."""
import contextlib
from collections.abc import Iterator
from types import SimpleNamespace

from basicsr.archs import vgg_arch
from torchvision.models import vgg

_NAMES = [f'vgg{depth}{norm}' for depth in (11, 13, 16, 19) for norm in ('', '_bn')]


@contextlib.contextmanager
def random_vgg() -> Iterator[None]:
    """Let ``VGGFeatureExtractor`` start from random weights within the block; a local weights file is still used."""

    def builder(name):
        return lambda pretrained: getattr(vgg, name)(pretrained=False, init_weights=False)

    vgg_arch.vgg = SimpleNamespace(**{name: builder(name) for name in _NAMES})
    try:
        yield
    finally:
        vgg_arch.vgg = vgg
