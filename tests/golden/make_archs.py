"""Make archs.pt, the golden outputs of tests/test_archs.py: python tests/golden/make_archs.py

The expected outputs come from the layers written out one by one below, in float64, not from the classes under test.
"""
from pathlib import Path

import torch
import torch.nn.functional as F

from ra_plugin.archs import ResnetGenerator, SRResNet


def bn(x, w, name):
    return F.batch_norm(x, w[f'{name}.running_mean'], w[f'{name}.running_var'], w[f'{name}.weight'], w[f'{name}.bias'])


def conv(x, w, name, **kwargs):
    return F.conv2d(x, w[f'{name}.weight'], w.get(f'{name}.bias'), **kwargs)


def srresnet(x, w, upscale):
    head = F.prelu(conv(x, w, 'head.0', padding=4), w['head.1.weight'])
    y = bn(conv(head, w, 'body.0.body.0', padding=1), w, 'body.0.body.1')
    y = bn(conv(F.prelu(y, w['body.0.body.2.weight']), w, 'body.0.body.3', padding=1), w, 'body.0.body.4')
    y = head + F.prelu(conv(head + y, w, 'body.1', padding=1), w['body.2.weight'])
    for i in range({1: 0, 2: 1, 4: 2}[upscale]):
        y = F.prelu(F.pixel_shuffle(conv(y, w, f'upsample.{3 * i}', padding=1), 2), w[f'upsample.{3 * i + 2}.weight'])
    return (conv(y, w, 'tail', padding=4).tanh() + 1) / 2


def resnet_generator(x, w):
    def reflect(v, n):
        return F.pad(v, (n,) * 4, mode='reflect')

    y = F.relu(bn(conv(reflect(x, 3), w, 'layers.1'), w, 'layers.2'))
    for i in (4, 7):
        y = F.relu(bn(conv(y, w, f'layers.{i}', stride=2, padding=1), w, f'layers.{i + 1}'))
    z = F.relu(bn(conv(reflect(y, 1), w, 'layers.10.body.1'), w, 'layers.10.body.2'))
    y = y + bn(conv(reflect(z, 1), w, 'layers.10.body.5'), w, 'layers.10.body.6')
    for i in (11, 14):
        y = F.conv_transpose2d(y, w[f'layers.{i}.weight'], stride=2, padding=1, output_padding=1)
        y = F.relu(bn(y, w, f'layers.{i + 1}'))
    return (conv(reflect(y, 3), w, 'layers.18').tanh() + 1) / 2


def main() -> None:
    cases = {}
    for i, name in enumerate(('SRResNet_x1', 'SRResNet_x2', 'SRResNet_x4', 'ResnetGenerator')):
        torch.manual_seed(i)
        kind, _, scale = name.partition('_x')
        net = (SRResNet(num_feat=4, num_block=1, upscale=int(scale)) if scale
               else ResnetGenerator(num_feat=4, num_block=1))
        weights = {key: value if not value.is_floating_point() else
                   (torch.rand_like(value) + 0.5 if 'running_var' in key else 0.3 * torch.randn_like(value))
                   for key, value in net.state_dict().items()}
        x = torch.rand(1, 3, 12, 16)
        w = {key: value.double() for key, value in weights.items() if value.is_floating_point()}
        output = srresnet(x.double(), w, int(scale)) if scale else resnet_generator(x.double(), w)
        cases[name] = {'state_dict': weights, 'input': x, 'output': output.float()}
    torch.save(cases, Path(__file__).with_name('archs.pt'))


if __name__ == '__main__':
    main()
