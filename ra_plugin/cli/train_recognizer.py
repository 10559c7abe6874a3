"""Train one of the small classifiers on class folders and write it as float16 safetensors, with its log beside it.

Example:
    ra-plugin train-recognizer TinyResNet --data datasets/cifar10 --epochs 8 --out weights/x.safetensors

    On images that a trained network restores, and on interpolated ones (appendix A of the paper):
    ra-plugin train-recognizer TinyResNet --data datasets/cifar10 --out experiments/restored.safetensors \\
        --restorer options/demo/plain_srresnet_x2_cifar10.yml
    ra-plugin train-recognizer TinyResNet --data datasets/cifar10 --out experiments/interpolated.safetensors \\
        --degradation '{type: BicubicDownsample, scale: 2}'
"""
import argparse
from pathlib import Path

from ra_plugin.cli.flags import option_file
from ra_plugin.cli.start import loading, run_here


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of this command."""
    parser.add_argument('arch', help='a class of ra_plugin.recognizers.tiny_nets')
    parser.add_argument('--data', type=Path, required=True, help='folder with train/, val/ and test/ class folders')
    parser.add_argument('--classes', nargs='+', help='folders to train on, in the order of the labels. Default: all')
    parser.add_argument('--out', type=Path, required=True, help='the .safetensors file; the log gets the suffix .log')
    parser.add_argument('--init', type=Path, help='go on from these weights, with a schedule of its own')
    parser.add_argument('--epochs', type=int, default=8, help='passes through the images. Default: 8')
    parser.add_argument('--lr', type=float, default=0.2, help='peak learning rate. Default: 0.2')
    parser.add_argument('--optimizer', choices=['SGD', 'AdamW'], default='SGD', help='of torch. Default: SGD')
    parser.add_argument('--weight-decay', type=float, default=5e-4, help='of the optimizer. Default: 5e-4')
    parser.add_argument('--seed', type=int, default=0, help='of weights and order of images. Default: 0')
    parser.add_argument('--threads', type=int, help='of the processor. Default: as torch has it')
    parser.add_argument('--degradation', help="a block as YAML, or a file of one: learn on images so degraded, "
                                              "interpolated to the clean ones' size. Default: the restorer's")
    parser.add_argument('--restorer', type=option_file, metavar='FILE',
                        help='option file of a finished training: learn on what it restores')


def run(args: argparse.Namespace) -> int:
    """Train; return the exit status."""
    with loading():
        import torch

        from ra_plugin.demo.recognizer_training import RecognizerTraining, train_recognizer
        from ra_plugin.utils.out_folder import say_written

    args.threads = args.threads or torch.get_num_threads()

    def pipeline(root: Path) -> None:
        train_recognizer(RecognizerTraining(**vars(args)), root)
        say_written(args.out)

    return run_here(pipeline, 'nothing is written before the end; the same command starts over')
