"""Write the network of a training, or of a weights file, for other programs, with a model card beside it.

NAME.onnx: the network as a graph that onnxruntime and others run, with normalization and the extension of images to the
sizes that the network takes. It is for images of any size where the network's operations hold for all of them, and is
compared with PyTorch on four sizes; a file that differs by more than rounding is not written.
NAME.safetensors: the weights, in the layout that spandrel, chaiNNer and ComfyUI open where they know the architecture.

Example:
    ra-plugin export ra_srresnet_x2_cifar10 --out srresnet.onnx
"""
import argparse
import re
import sys
from pathlib import Path

from ra_plugin.cli.start import loading


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of this command."""
    parser.add_argument('network', metavar='RUN|FILE', help='a training: its name below experiments/, its folder, its '
                        'option file, or weights in its folder; or the weights file of any restorer that spandrel '
                        'knows')
    parser.add_argument('--out', type=Path, required=True, metavar='FILE',
                        help='file to write, NAME.onnx or NAME.safetensors; the card is NAME.md')
    parser.add_argument('--machine', action='store_true',
                        help='with network_t after it, whose images are for recognizers rather than people; ONNX alone')
    parser.add_argument('--size', type=_sides, metavar='HxW',
                        help='height and width of all images that an ONNX file is for. Default: any')
    parser.add_argument('--overwrite', action='store_true', help='replace files that are there. Default: an error')


def run(args: argparse.Namespace) -> int:
    """Export; return the exit status."""
    with loading():
        from ra_plugin.exporting.run import ExportOptions, export
        from ra_plugin.utils import command_line
        from ra_plugin.utils.out_folder import say_written

    def write() -> None:
        export(args.network, Path.cwd(), ExportOptions(out=args.out, size=args.size, machine=args.machine,
                                                       overwrite=args.overwrite))
        say_written(args.out)

    return command_line.run(write, Path(sys.argv[0]).name)


def _sides(text: str) -> tuple[int, int]:
    found = re.fullmatch(r'([1-9]\d*)x([1-9]\d*)', text)
    if found is None:
        raise argparse.ArgumentTypeError(f"expected height and width, e.g. 256x384, got '{text}'.")
    return int(found[1]), int(found[2])
