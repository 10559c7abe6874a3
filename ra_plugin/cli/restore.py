"""Restore a folder of photographs with the network of a training.

Each photograph keeps its name and subfolder, its format, 16 bits, alpha channel, color profile and EXIF tags, by which
it is rotated. Large ones are restored in tiles without seams. Broken files are named, and the others go on: the exit
status is 1 then.

Example:
    ra-plugin restore ra_srresnet_x2_cifar10 photos --out restored
"""
import argparse
import sys
from pathlib import Path

from ra_plugin.cli.start import loading


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of this command."""
    parser.add_argument('network', metavar='RUN|FILE', help='a training: its name below experiments/, its folder, its '
                        'option file, or weights in its folder')
    parser.add_argument('folder', type=Path, metavar='FOLDER', help='photographs, at any depth; or one file')
    parser.add_argument('--out', type=Path, required=True, metavar='DIR', help='folder of the results')
    parser.add_argument('--format', choices=['png', 'jpg', 'webp', 'tiff'], 
                        help="format to write. Default: each file's")
    parser.add_argument('--quality', type=int, default=95,
                        help='of JPEG and WebP, 1 to 100, which is lossless for WebP. Default: %(default)s')
    parser.add_argument('--bits', type=int, choices=[8, 16], help="bits per channel. Default: each file's")
    parser.add_argument('--tile', type=int, metavar='N', help='pixels from tile to tile, 0 for whole images. Default: '
                        'by the memory and the network')
    parser.add_argument('--gate', metavar='noise|jpeg[:N]', help='take images as they are given in which less noise '
                        '(standard deviation, of [0, 1]) or JPEG compression (blockiness) than N is found. Default: '
                        'none; of N: noise:0.04, jpeg:1.3')
    parser.add_argument('--machine', action='store_true',
                        help='write the images of network_t, which are for recognizers rather than people')
    there = parser.add_mutually_exclusive_group()
    there.add_argument('--skip-existing', action='store_true', help='go on after the files that are there already')
    there.add_argument('--overwrite', action='store_true', help='replace them. Default: an error')
    parser.add_argument('--max-pixels', type=int, help='of an image that is read. Default: 179 million')
    parser.add_argument('--device', help='cpu, cuda, ... Default: a GPU where there is one')


def run(args: argparse.Namespace) -> int:
    """Restore; return the exit status."""
    with loading():
        from ra_plugin.evaluation.program_flags import device_of
        from ra_plugin.restoring.run import Restoring, RestoringOptions
        from ra_plugin.restoring.run_network import named_network
        from ra_plugin.utils import command_line
        from ra_plugin.utils.out_folder import say_written
    status = []

    def restore() -> None:
        options = RestoringOptions(kind=args.format, quality=args.quality, bits=args.bits, tile=args.tile,
                                   skip_existing=args.skip_existing, overwrite=args.overwrite,
                                   max_pixels=args.max_pixels, gate=args.gate)
        device = device_of(args.device)
        network = named_network(args.network, Path.cwd(), args.machine)
        network.network.to(device)
        status.append(Restoring(network, device, options)(args.folder, args.out))
        if args.out.exists():
            say_written(args.out)

    kept = 'finished files are kept; the same command with --skip-existing goes on after them'
    # images of many sizes would fill up kept memory with holes: the bound on memory would not hold
    return command_line.run(restore, Path(sys.argv[0]).name, kept, keep_memory=False) or status[0]
