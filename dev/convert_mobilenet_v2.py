"""Convert torchvision's MobileNetV2 weights to the names of mmdet's and mmseg's MobileNetV2, both in one file."""
from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ra_plugin.cli.start import loading

if TYPE_CHECKING:  # importing torch takes seconds, also for --help
    import torch

BLOCKS = (1, 2, 3, 4, 3, 3, 1)  # inverted residual blocks per layer, the same for all widths
BLOCK_NAMES = [f'layer{layer}.{block}' for layer, count in enumerate(BLOCKS, 1) for block in range(count)]
MMDET_CONVS = ('expand_conv', 'depthwise_conv', 'linear_conv')
ENTRY = re.compile(r'features\.(\d+)\.(?:conv\.)?(\d+)(?:\.(\d))?\.(\w+)')


def mm_names(key: str) -> dict[str, str]:
    """Return mmdet's and mmseg's names of an entry of torchvision; empty for the classifier, which both lack."""
    match = ENTRY.fullmatch(key)
    if match is None:
        return {}
    feature, place, part, leaf = int(match[1]), int(match[2]), match[3], match[4]
    if feature in (0, len(BLOCK_NAMES) + 1):
        name = f'{"conv2" if feature else "conv1"}.{("conv", "bn")[place]}.{leaf}'
        return {'mmdet': name} if feature else {'mmdet': name, 'mmseg': name}  # mmseg has no conv2
    convs = MMDET_CONVS if feature > 1 else MMDET_CONVS[1:]  # the first block does not expand
    # In torchvision's block the last convolution and its normalization are direct children, the others are in pairs.
    conv, part = (place, int(part)) if part is not None else (len(convs) - 1, place - len(convs) + 1)
    block, tail = BLOCK_NAMES[feature - 1], f'{("conv", "bn")[part]}.{leaf}'
    return {'mmdet': f'{block}.{convs[conv]}.{tail}', 'mmseg': f'{block}.conv.{conv}.{tail}'}


def convert(state_dict: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors as `mmdet.NAME` and `mmseg.NAME`; a config selects by `prefix` in its Pretrained init_cfg."""
    return {f'{library}.{name}': tensor
            for key, tensor in state_dict.items() for library, name in mm_names(key).items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', type=Path, help="torchvision's file, mobilenet_v2-b0353104.pth")
    parser.add_argument('target', type=Path, nargs='?', default=Path('weights/mobilenet_v2_mm.pth'))
    args = parser.parse_args()

    with loading():
        from ra_plugin.checkpoint import read_weights
        from ra_plugin.utils.atomic import atomic_save
        from ra_plugin.utils.command_line import run

    def write() -> None:
        converted = convert(read_weights(args.source, 'source'))
        if not converted:
            raise ValueError(f"{args.source}: expected the weights of torchvision's mobilenet_v2, got none of its "
                             'entries. Use the file named in --help.')
        args.target.parent.mkdir(parents=True, exist_ok=True)
        atomic_save(converted, args.target)
        print(f'{args.target}: {len(converted)} entries')

    return run(write, 'convert_mobilenet_v2')


if __name__ == '__main__':
    sys.exit(main())
