"""ONNX files: equal to PyTorch on other sizes than the traced one, and refused where they are not."""
import re

import onnxruntime
import pytest
import torch
from basicsr.archs.edsr_arch import EDSR
from basicsr.archs.rcan_arch import RCAN
from basicsr.archs.ridnet_arch import RIDNet
from basicsr.archs.rrdbnet_arch import RRDBNet
from basicsr.archs.srresnet_arch import MSRResNet
from basicsr.archs.swinir_arch import SwinIR
from test_archs import SMALL, build
from test_spandrel_network import NETWORKS, written
from torch import nn

from dev import zoo_spandrel
from ra_plugin.archs import Interpolation, ResnetGenerator, SpandrelNetwork
from ra_plugin.builders.fitted_network import FittedNetwork
from ra_plugin.exporting.graph import Graph
from ra_plugin.exporting.onnx_check import TOLERANCE, largest_difference
from ra_plugin.exporting.onnx_file import onnx_file
from ra_plugin.options import OptionError


def run(content, images):
    return torch.from_numpy(onnxruntime.InferenceSession(content).run(None, {'input': images.numpy()})[0])


def of_spandrel(name, tmp_path):
    torch.manual_seed(0)
    network = NETWORKS[name]() if name in NETWORKS else zoo_spandrel.build(name)
    return SpandrelNetwork(written(tmp_path / 'net.pth', network)).eval().requires_grad_(False)


# ---------------------------------------------------------------------------------------------------------- the graph
@pytest.mark.parametrize('size', [(1, 5), (9, 3), (13, 21), (33, 1)])
@pytest.mark.parametrize('name', ['RRDBNet, unshuffled', 'SwinIR', 'NAFNet'])
def test_the_graph_extends_as_the_network_does(name, size, tmp_path):
    network, images = of_spandrel(name, tmp_path), torch.rand(2, 3, *size)
    with torch.no_grad():
        torch.testing.assert_close(Graph(FittedNetwork(network))(images), network(images), rtol=0, atol=2e-6)


@pytest.mark.slow
def test_the_graph_makes_squares(tmp_path):
    network, images = of_spandrel('Uformer', tmp_path), torch.rand(1, 3, 20, 130)
    with torch.no_grad():
        torch.testing.assert_close(Graph(FittedNetwork(network))(images), network(images), rtol=0, atol=2e-6)


@pytest.mark.parametrize('fixed', [False, True])
@pytest.mark.parametrize('size', [(1, 3), (4, 17), (8, 16)])
def test_the_graph_normalizes_and_extends_as_a_fitted_network(size, fixed):
    fitted = FittedNetwork(nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.PixelShuffle(2)), 8, [0.4, 0.5, 0.6],
                           [0.2, 0.3, 0.1])
    images = torch.rand(2, 3, *size)
    with torch.no_grad():
        torch.testing.assert_close(Graph(fitted, fixed)(images), fitted(images), rtol=0, atol=1e-6)


# ------------------------------------------------------------------------------------------------- files for any size
@pytest.mark.slow
@pytest.mark.parametrize('name, free', [('RRDBNet', 'NHW'), ('RRDBNet, unshuffled', 'NHW'), ('Compact', 'NHW'),
                                        ('NAFNet', 'NHW'), ('SwinIR', 'HW'), ('HAT', 'HW')])
def test_a_file_gives_what_spandrel_gives_at_any_size(name, free, tmp_path):
    network = of_spandrel(name, tmp_path)
    made = onnx_file(FittedNetwork(network), None, 'x')
    assert made.free == free and made.scale == network.scale and len(set(made.shapes)) == 4
    for shape in [(1, 3, 16, 24), (1, 3, 23, 5), (1, 3, 49, 90), *[(3, 3, 17, 40)] * (free == 'NHW')]:
        images = torch.rand(*shape)
        with torch.no_grad():
            expected = network(images)
        torch.testing.assert_close(run(made.content, images), expected, rtol=0, atol=5e-6)


CONVOLUTIONS = {
    **{cls.__name__: lambda cls=cls: build(cls, 1 if cls is ResnetGenerator else 2) for cls in SMALL},
    'EDSR': lambda: EDSR(3, 3, num_feat=4, num_block=1, upscale=2), 'MSRResNet': lambda: MSRResNet(3, 3, 4, 1, 4),
    'RCAN': lambda: RCAN(3, 3, num_feat=4, num_group=1, num_block=1, squeeze_factor=2, upscale=2),
    'RIDNet': lambda: RIDNet(3, 16, 3, num_block=1), 'RRDBNet': lambda: RRDBNet(3, 3, 1, 4, 1, 4)}


@pytest.mark.slow
@pytest.mark.parametrize('name', CONVOLUTIONS)
def test_networks_of_this_package_and_basicsr_are_for_any_size_and_number(name):
    torch.manual_seed(0)
    network, images = CONVOLUTIONS[name]().eval(), torch.rand(3, 3, 17, 30)
    made = onnx_file(FittedNetwork(network), None, 'x')
    assert made.free == 'NHW'
    fitted = FittedNetwork(network, 4 if name == 'RRDBNet' else 1)  # which unshuffles at scale 1
    with torch.no_grad():
        expected = fitted(images)
    torch.testing.assert_close(run(made.content, images), expected, rtol=1e-5, atol=5e-6)


@pytest.mark.slow
def test_a_network_that_takes_certain_sizes_is_given_them_by_the_graph(capsys):
    network = nn.Sequential(Unshuffled())
    made = onnx_file(FittedNetwork(network), None, 'x')
    assert 'takes sides that 4 divides' in capsys.readouterr().out
    images = torch.rand(2, 3, 21, 30)
    fitted = FittedNetwork(network, 4)
    with torch.no_grad():
        torch.testing.assert_close(run(made.content, images), fitted(images), rtol=0, atol=1e-6)


class Unshuffled(nn.Module):

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(48, 48, 3, padding=1)

    def forward(self, x):
        return nn.functional.pixel_shuffle(self.conv(nn.functional.pixel_unshuffle(x, 4)), 4)


@pytest.mark.slow
def test_normalization_and_windows_of_basicsr(tmp_path):
    torch.manual_seed(0)
    network = nn.Sequential(SwinIR(upscale=2, img_size=16, window_size=8, embed_dim=6, depths=[2], num_heads=[2],
                                   mlp_ratio=2, upsampler='pixelshuffledirect'),
                            EDSR(3, 3, num_feat=4, num_block=1, upscale=2)).eval()
    fitted = FittedNetwork(network, 8, [0.4] * 3, [0.3] * 3)
    made = onnx_file(fitted, None, 'x')
    images = torch.rand(1, 3, 19, 34)
    with torch.no_grad():
        torch.testing.assert_close(run(made.content, images), fitted(images), rtol=0, atol=1e-5)
    assert made.scale == 4


# ------------------------------------------------------------------------------------------- what a trace does not hold
class OfTheTrace(nn.Module):
    """Network whose result depends on the size by a number of Python, which a trace keeps."""

    def __init__(self, difference=1., batch=False):
        super().__init__()
        self.difference, self.batch = difference, batch

    def forward(self, x):
        number = len(x) if self.batch else int(x.shape[-1])
        return x + self.difference * number


@pytest.mark.slow
@pytest.mark.parametrize('difference', [1., 1e-5])
def test_a_file_that_gives_other_values_at_other_sizes_is_refused(difference):
    """1e-5 is below the tolerance: rounding of these operations is less."""
    fitted = FittedNetwork(OfTheTrace(difference))
    with pytest.raises(OptionError, match=r'^x: no ONNX file for images of any size: of 1x3x32x48 it makes values that '
                                          r'differ by .*\. Write a file for one size, .*: --size 256x256\.$'):
        onnx_file(fitted, None, 'x')
    made = onnx_file(fitted, (20, 31), 'x')
    assert made.free == 'N' and made.difference < 1e-5
    images = torch.rand(3, 3, 20, 31)
    torch.testing.assert_close(run(made.content, images), fitted(images), rtol=0, atol=1e-5)
    with pytest.raises(Exception, match='(?i)invalid dimensions'):
        run(made.content, torch.rand(1, 3, 20, 32))


@pytest.mark.slow
def test_a_network_for_one_image_at_a_time_gets_a_file_for_one():
    made = onnx_file(FittedNetwork(OfTheTrace(batch=True)), None, 'x')
    assert made.free == 'HW' and {shape[0] for shape in made.shapes} == {1}
    assert onnx_file(FittedNetwork(OfTheTrace(batch=True)), (8, 8), 'x').free == ''


class Pooled(nn.Module):
    """Network with an operation that ONNX has for known sizes alone."""

    def forward(self, x):
        height, width = x.shape[-2:]
        return x + nn.functional.interpolate(nn.functional.adaptive_max_pool2d(x, (height // 8, width // 8)),
                                             size=(height, width), mode='nearest')


@pytest.mark.slow
def test_one_size_is_known_to_all_operations_of_the_graph():
    fitted, images = FittedNetwork(Pooled(), 8), torch.rand(1, 3, 21, 30)
    with pytest.raises(OptionError, match='adaptive pooling.* Write a file for one size'):
        onnx_file(fitted, None, 'x')
    made = onnx_file(fitted, (21, 30), 'x')
    torch.testing.assert_close(run(made.content, images), fitted(images), rtol=0, atol=1e-6)


class Missing(nn.Module):

    def forward(self, x):
        return torch.fft.rfft2(x).abs().mean() + x


def test_an_operation_that_onnx_lacks_is_named(capfd):
    with pytest.raises(OptionError, match=r"^x: no ONNX file for images of 8x8 pixels: .*fft_rfft2.* Write the weights "
                                          r'instead: --out NAME\.safetensors\.$'):
        onnx_file(FittedNetwork(Missing()), (8, 8), 'x')
    assert capfd.readouterr() == ('', '')  # the exporter prints graphs


def test_random_numbers_outside_are_kept():
    network = nn.Conv2d(3, 3, 1)
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    onnx_file(FittedNetwork(network), None, 'x')
    assert torch.equal(torch.rand(3), expected)


def test_a_size_does_not_help_where_an_operation_is_missing():
    with pytest.raises(OptionError, match=r'for images of any size: .*_upsample_bicubic2d_aa.* Write the weights'):
        onnx_file(FittedNetwork(Interpolation(2)), None, 'x')


@pytest.mark.parametrize('change, said', [
    (lambda x: x + 2 * TOLERANCE, 'differ by 2.0e-04'), (lambda x: x * torch.nan, 'differ by nan'),
    (lambda x: x[..., 1:], 'makes 1x3x4x4, not 1x3x4x5')])
def test_differences_are_found(change, said):
    images = torch.rand(1, 3, 4, 5)
    assert largest_difference(lambda x: x, [(images, images)]) == 0
    with pytest.raises(ValueError, match=re.escape(said)):
        largest_difference(change, [(images, images)])
