"""Export the restorers of spandrel to ONNX, each from its smallest configuration, and list for which images that works.

Example:
    python -m dev.export_check > table.md
"""
import argparse
import importlib
import sys
import tempfile
from pathlib import Path

from ra_plugin.cli.start import loading

_SIZE = 48, 64  # of the images of a file for one size
# which have layers of no width in their smallest configuration; onnxruntime refuses those
_WIDER = {'CRAFT': {'embed_dim': 48}, 'DAT': {'embed_dim': 32}, 'RGT': {'embed_dim': 32}}


def main() -> int:
    """Print a table in Markdown; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('names', nargs='*', help='names of the table in docs/ZOO.md; default: all')
    args = parser.parse_args()

    with loading():
        from dev.zoo_spandrel import SMALLEST
        from ra_plugin.utils.command_line import run

    def check() -> None:
        print('| model | images of | at a time | largest difference |\n|---|---|---|---|')
        for name in args.names or sorted(SMALLEST, key=str.lower):
            print(f'| {" | ".join(row(name))} |', flush=True)

    return run(check, 'export_check', 'the rows so far are printed')


def row(name: str) -> tuple[str, str, str, str]:
    """Return the cells of a network: its name, the sizes and numbers of images, and the difference from PyTorch."""
    import torch

    from ra_plugin.archs import SpandrelNetwork
    from ra_plugin.builders.fitted_network import FittedNetwork
    from ra_plugin.exporting.onnx_file import onnx_file
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, 'net.pth')
        torch.save({'params': built(name).state_dict()}, file)
        try:
            fitted = FittedNetwork(SpandrelNetwork(str(file)).eval().requires_grad_(False), where=name)
        except ValueError:  # of another purpose, which the table of the zoo says
            return name, 'no restorer', '', ''
    for size in (None, _SIZE):
        try:
            made = onnx_file(fitted, size, name)
        except ValueError:
            continue
        return (name, 'one size' if size else 'any size', 'any number' if 'N' in made.free else 'one',
                f'{made.difference:.0e}')
    return name, 'refused', '', ''


def built(name: str):
    """Return spandrel's network, with random weights."""
    from dev.zoo_spandrel import SMALLEST
    room, kind, arguments = SMALLEST[name]
    module = importlib.import_module(f'spandrel.architectures.{room}')
    return getattr(module, kind)(**{**arguments, **_WIDER.get(name, {})})


if __name__ == '__main__':
    sys.exit(main())
