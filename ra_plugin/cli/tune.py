"""Make a finished restorer recognition-aware within a budget of PSNR, without labels, and report what that gives.

The images are divided in three: most train, some hold the budget, the others are reported on. The result opens where
the original does. A tuning that was stopped goes on with the same command.

Example:
    ra-plugin tune RealESRGAN_x4plus.pth --images photos --recognizer resnet50 --judge convnext_tiny --out tuned
"""
import argparse
import shlex
import sys
from dataclasses import fields
from pathlib import Path
from typing import get_args

from ra_plugin.cli.start import loading, run_here
from ra_plugin.tuning.options import ImageLoss, Loss, TuneOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of this command."""
    parser.add_argument('restorer', metavar='RESTORER', help='file that spandrel knows; or a training: its name below '
                        'experiments/, its folder or its option file')
    parser.add_argument('--images', required=True, metavar='FOLDER', help='clean images, at any depth')
    parser.add_argument('--recognizer', required=True, metavar='NAME', help='recognizer in the loss: a model of timm '
                        'or torchvision, OWNER/NAME of Hugging Face, FILE.pt of ultralytics, a folder of transformers, '
                        'or "{type: ..., ...}" or FILE.yml with a block of an option file')
    parser.add_argument('--judge', dest='judges', nargs='+', default=(), metavar='NAME',
                        help='recognizers that judge and are never used')
    parser.add_argument('--labels', metavar='folders|FILE|FOLDER', help='labels of the images: "folders", a list of '
                        'classes or words, COCO\'s JSON, masks. Default: none; the answers on clean images are right')
    parser.add_argument('--degradation', metavar='STEPS', help='bicubic, noise:25/255, jpeg:10, real, with + between '
                        "several; or a block. Default: bicubic, by the restorer's scale")
    parser.add_argument('--lq', metavar='FOLDER', help='degraded images instead, with the names of the clean ones')
    parser.add_argument('--max-psnr-drop', type=float, default=TuneOptions.max_psnr_drop, metavar='DB',
                        help='budget. Default: %(default)s')
    parser.add_argument('--loss', choices=get_args(Loss), default=TuneOptions.loss,
                        help='what the recognizer is asked for: its answers on clean images, the labels, or its '
                        'features on clean images. Default: %(default)s')
    parser.add_argument('--image-loss', choices=get_args(ImageLoss), default=TuneOptions.image_loss,
                        help='what restored images stay near: clean images, or those of the original, which is for '
                        'restorers trained for looks (GANs); auto: by PSNR. Default: %(default)s')
    parser.add_argument('--steps', type=int, default=TuneOptions.steps, help='iterations. Default: %(default)s')
    parser.add_argument('--batch-size', type=int, help='images in an iteration. Default: 16, less for large images')
    parser.add_argument('--size', type=int, help='side in pixels of the images. Default: that of the recognizer')
    parser.add_argument('--lr', type=float, default=TuneOptions.lr, help='learning rate of Adam. Default: %(default)s')
    parser.add_argument('--report-images', type=int, default=TuneOptions.report_images, metavar='N',
                        help='images of the report, at most. Default: %(default)s')
    parser.add_argument('--seed', type=int, default=TuneOptions.seed, help='of the training. Default: %(default)s')
    parser.add_argument('--out', type=Path, metavar='DIR', help='folder of all results. Default: tuned/NAME')
    parser.add_argument('--device', help='cpu, cuda, ... Default: a GPU where there is one')


def run(args: argparse.Namespace) -> int:
    """Tune; return the exit status."""
    with loading():
        from ra_plugin.tuning.run import tune
        from ra_plugin.utils.out_folder import say_written

    def pipeline(root: Path) -> None:
        options = TuneOptions(**{field.name: getattr(args, field.name) for field in fields(TuneOptions)})
        out = args.out or root / 'tuned' / Path(args.restorer).stem
        tuned = tune(root, options, out, f'ra-plugin tune {shlex.join(sys.argv[1:])}', args.device)
        print(*tuned.lines, sep='\n')
        say_written(out, tuned.file.name, 'README.md', 'report.html', 'results.json')

    return run_here(pipeline, 'finished parts are kept; the same command goes on from there')
