"""A small evaluation that takes a second: twelve images, and recognizers of one layer that a test can change."""
import copy
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from ra_plugin.evaluation.judging import Judging
from ra_plugin.evaluation.run import Evaluation

COUNT = 12
CODE = '''
import torch
from torch import nn


class Net(nn.Module):
    """Recognizer that classifies colors."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(3, 3)

    def forward(self, images):
        return self.head(images.mean((2, 3)))
'''


def make(root: Path) -> dict:
    """Write images in three class folders, two folders of restored ones, and a recognizer; return the options."""
    rng = np.random.default_rng(0)
    for i in range(COUNT):
        for folder in ('images', 'plain', 'RA'):
            file = root / folder / 'abc'[i % 3] / f'{i:02d}.png'
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (12, 12, 3), np.uint8)).save(file)
    (root / 'own_net.py').write_text(CODE)
    for name, favorite in (('one', 0), ('two', 1)):
        save_weights(root / f'{name}.safetensors', favorite)
    return {'name': 'small', 'audit': 4, 'baseline': 'plain',
            'datasets': {'d': {'type': 'LabeledImageDataset', 'dataroot_gt': str(root / 'images'),
                               'degradation': {'type': 'GaussianNoise', 'sigma': 0.1}}},
            'restorers': {name: {'folder': str(root / name)} for name in ('plain', 'RA')},
            'recognizers': {name: recognizer(root / f'{name}.safetensors') for name in ('one', 'two')}}


def save_weights(file: Path, favorite: int) -> None:
    """Write the weights of a recognizer that is biased towards a class."""
    generator = torch.Generator().manual_seed(favorite)
    save_file({'head.weight': torch.randn(3, 3, generator=generator),
               'head.bias': 0.05 * torch.eye(3)[favorite]}, file)


def recognizer(checkpoint: Path, **more) -> dict:
    return {'type': 'ModuleRecognizer', 'module': 'own_net.Net', 'checkpoint': str(checkpoint), 'mean': [0.5] * 3,
            'std': [0.25] * 3, **more}


class Counted:
    """Runner of evaluations that counts the (image, processing, recognizer) triples they compute."""

    def __init__(self, root: Path, monkeypatch):
        self.root, self.asked = root, []
        original = Judging.__call__

        def counted(judging, batch):
            self.asked += [(number, name, judge) for number in batch.index for name, _ in judging.processings
                           for judge in judging.recognizers or ['']]
            return original(judging, batch)

        monkeypatch.setattr(Judging, '__call__', counted)
        monkeypatch.syspath_prepend(root)

    def __call__(self, opt: dict, out: str = 'out', **settings) -> dict:
        """Run and return the results; ``asked`` has the triples that were computed."""
        self.asked.clear()
        results, _ = Evaluation(self.root, copy.deepcopy(opt)).run(self.root / out, batch_size=5, **settings)
        return results.to_json()['conditions']

    def same_as_anew(self, opt: dict) -> None:
        """Assert that the results equal those without records, up to the rounding of sums of floats."""
        kept = self(opt)
        asked = list(self.asked)
        assert rounded(kept) == rounded(self(opt, 'anew', restart=True))
        self.asked = asked


def rounded(node):
    """Round results to six digits."""
    if isinstance(node, dict):
        return {key: rounded(value) for key, value in node.items()}
    if isinstance(node, list):
        return [rounded(value) for value in node]
    return float(f'{node:.6g}') if isinstance(node, float) else node
