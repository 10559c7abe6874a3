"""Demo: train plain, recognition-aware and unsupervised networks from one start, and evaluate five recognizers."""
import json
import time
from pathlib import Path

import yaml

from ra_plugin.evaluation.options import read_options
from ra_plugin.evaluation.run import Evaluation
from ra_plugin.evaluation.write_report import evaluate
from ra_plugin.report.markdown import to_markdown
from ra_plugin.results import Results
from ra_plugin.shipped.find import locate, shown_path
from ra_plugin.training.programs import run_program
from ra_plugin.utils.out_folder import check_out_folder, say_written

_AUDITED = 400  # images in the audit; more would take longer than the training


def run_demo(root: Path, out: Path, seed: int = 0, num_images: int | None = None, split: str = 'test',
             train: bool = True) -> Results:
    """Train three networks on CIFAR-10 x2 and evaluate them: ``results.json``, ``tables.md`` and ``report.html``.

    Args:
        root: Folder with the data in ``datasets/cifar10``; networks are saved to its ``experiments``.
        out: Folder for the results.
        seed: Seed of initial weights, order of images and random flips, the same for the three networks.
        num_images: Number of images to score, evenly spaced over the split. Default: all.
        split: ``'test'``, or ``'val'`` for choosing settings.
        train: Train the networks; if False, those of the last run are scored.

    Returns:
        The content of ``results.json``.

    Raises:
        ChildProcessError: A training failed.
    """
    started = time.time()
    check_out_folder(out)
    opt = read_options(locate('options/eval/cifar10.yml', root))
    files = {name: locate(block['option_file'], root) for name, block in opt['restorers'].items()}
    for name, path in files.items() if train else ():
        print(f'\n== Training: {name} ({shown_path(path, root)})', flush=True)
        if run_program(['-m', 'ra_plugin', 'train', '-opt', path, '--force-yml', f'manual_seed={seed}', 'val=~'],
                       cwd=root):  # no validation: scored below
            raise ChildProcessError(f'The training of {shown_path(path, root)} ended early.')
    record = root / 'experiments' / 'demo.json'  # settings with which the networks were trained
    if train:
        record.write_text(json.dumps({'seed': seed, 'options': {
            name: yaml.safe_load(path.read_text()) for name, path in files.items()}}))
    training = json.loads(record.read_text())

    print(f'\n== Scoring on {split} images', flush=True)
    opt['datasets']['CIFAR-10 x2']['dataroot_gt'] = f'datasets/cifar10/{split}'
    opt.update(images=num_images, audit=_AUDITED)
    command = f'ra-plugin demo --seed {training["seed"]} --num-images {num_images} --split {split}'
    results = evaluate(Evaluation(root, opt), out, batch_size=100, restart=True, command=command, training=training)
    print(f'\n{to_markdown(results)}\n{time.time() - started:.0f} s in total.')
    say_written(out, 'results.json', 'tables.md', 'report.html')
    return results
