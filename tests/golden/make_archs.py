"""Make archs.pt, the golden outputs of tests/archs/test_archs.py.

Run it with: python tests/golden/make_archs.py

The expected outputs come from the layers written out one by one below, in float64, not from the classes under test.
"""
from pathlib import Path

import torch
import torch.nn.functional as F

from ra_plugin import archs

SIZES = {'SRResNet': {'num_feat': 4, 'num_block': 1}, 'ResnetGenerator': {'num_feat': 4, 'num_block': 1},
         'SRDenseNet': {'num_feat': 4, 'num_block': 2, 'num_layer': 3, 'num_grow_ch': 2, 'num_bottleneck_ch': 5},
         'RDN': {'num_feat': 4, 'num_block': 2, 'num_layer': 2, 'num_grow_ch': 3},
         'DBPN': {'num_init_feat': 4, 'num_feat': 2, 'num_block': 3}}
NAMES = ('SRResNet_x1', 'SRResNet_x2', 'SRResNet_x4', 'ResnetGenerator', 'SRDenseNet_x1', 'SRDenseNet_x4', 'RDN_x3',
         'RDN_x4', 'DBPN_x2', 'DBPN_x4')  # append: the seed is the place in this list


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


def srdensenet(x, w, upscale):
    def block(v, name):
        first = F.relu(conv(v, w, f'{name}.layers.0.0', padding=1))
        second = F.relu(conv(first, w, f'{name}.layers.1.0', padding=1))
        third = F.relu(conv(torch.cat((first, second), 1), w, f'{name}.layers.2.0', padding=1))
        return torch.cat((v, first, second, third), 1)

    y = block(block(F.relu(conv(x, w, 'head.0', padding=1)), 'blocks.0'), 'blocks.1')
    y = F.relu(conv(y, w, 'bottleneck.0'))
    for i in range({1: 0, 4: 2}[upscale]):
        name = f'upsample.{2 * i}'
        y = F.conv_transpose2d(y, w[f'{name}.weight'], w[f'{name}.bias'], stride=2, padding=1, output_padding=1)
        y = F.relu(y)
    return conv(y, w, 'tail', padding=1)


def rdn(x, w, upscale):
    def block(v, name):
        first = F.relu(conv(v, w, f'{name}.layers.0.0', padding=1))
        second = F.relu(conv(torch.cat((v, first), 1), w, f'{name}.layers.1.0', padding=1))
        return v + conv(torch.cat((v, first, second), 1), w, f'{name}.fusion')

    head = conv(x, w, 'head', padding=1)
    first = block(conv(head, w, 'entry', padding=1), 'blocks.0')
    second = block(first, 'blocks.1')
    y = head + conv(conv(torch.cat((first, second), 1), w, 'fusion.0'), w, 'fusion.1', padding=1)
    for i, factor in enumerate({3: (3,), 4: (2, 2)}[upscale]):
        y = F.pixel_shuffle(conv(y, w, f'upsample.{2 * i}', padding=1), factor)
    return conv(y, w, 'tail', padding=1)


def dbpn(x, w, upscale):
    size = {'stride': upscale, 'padding': 2}

    def prelu(v, name):
        return F.prelu(v, w[f'{name}.1.weight'])

    def larger(v, name):
        return prelu(F.conv_transpose2d(v, w[f'{name}.0.weight'], w[f'{name}.0.bias'], **size), name)

    def smaller(v, name):
        return prelu(conv(v, w, f'{name}.0', **size), name)

    def fewer(v, name):
        return prelu(conv(v, w, f'{name}.reduce.0'), f'{name}.reduce')

    def up(v, name):
        high = larger(v, f'{name}.there')
        return high + larger(smaller(high, f'{name}.back') - v, f'{name}.correct')

    def down(v, name):
        low = smaller(v, f'{name}.there')
        return low + smaller(larger(low, f'{name}.back') - v, f'{name}.correct')

    y = prelu(conv(x, w, 'head.0.0', padding=1), 'head.0')
    y = prelu(conv(y, w, 'head.1.0'), 'head.1')
    high1 = up(y, 'first')
    low1 = down(high1, 'down.0')
    high2 = up(low1, 'up.0')
    low2 = down(fewer(torch.cat((high1, high2), 1), 'down.1'), 'down.1')
    high3 = up(fewer(torch.cat((low1, low2), 1), 'up.1'), 'up.1')
    return conv(torch.cat((high1, high2, high3), 1), w, 'tail', padding=1)


def main() -> None:
    cases = {}
    for i, name in enumerate(NAMES):
        torch.manual_seed(i)
        kind, _, scale = name.partition('_x')
        arguments = {'upscale': int(scale)} if scale else {}
        net = getattr(archs, kind)(**SIZES[kind], **arguments)
        weights = {key: value if not value.is_floating_point() else
                   (torch.rand_like(value) + 0.5 if 'running_var' in key else 0.3 * torch.randn_like(value))
                   for key, value in net.state_dict().items()}
        x = torch.rand(1, 3, *((12, 16) if kind in ('SRResNet', 'ResnetGenerator') else (5, 6)))
        w = {key: value.double() for key, value in weights.items() if value.is_floating_point()}
        forward = {'SRResNet': srresnet, 'ResnetGenerator': resnet_generator, 'SRDenseNet': srdensenet, 'RDN': rdn,
                   'DBPN': dbpn}[kind]
        output = forward(x.double(), w, **arguments)
        cases[name] = {'state_dict': weights, 'input': x, 'output': output.float()}
    torch.save(cases, Path(__file__).with_name('archs.pt'))


if __name__ == '__main__':
    main()
