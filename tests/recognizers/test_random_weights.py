"""A recognizer with random weights is the same one wherever its block is built."""
import random

import mm_configs as small
import numpy as np
import pytest
import torch

from ra_plugin.builders.identity import weights_digest
from ra_plugin.losses import RecogLoss
from ra_plugin.recognizers import build_recognizer

MODULE = {'type': 'ModuleRecognizer', 'module': 'ra_plugin.recognizers.tiny_nets.TinyVGG', 'mean': [0.5] * 3,
          'std': [0.2] * 3, 'pretrained': False}
TIMM = {'type': 'TimmRecognizer', 'model_name': 'test_resnet', 'pretrained': False}


@pytest.fixture(params=['module', 'timm', 'mmdet', 'mmseg', 'ensemble'])
def block(request, tmp_path):
    if request.param in ('mmdet', 'mmseg'):
        model = small.FASTER_RCNN if request.param == 'mmdet' else small.FCN
        kind = 'MMDetRecognizer' if request.param == 'mmdet' else 'MMSegRecognizer'
        return {'type': kind, 'config': small.write_config(tmp_path / 'net.py', model, request.param),
                'pretrained': False}
    within = [MODULE, {'type': 'EnsembleRecognizer', 'recognizers': [MODULE, MODULE]}]
    return {'module': MODULE, 'timm': TIMM, 'ensemble': {'type': 'EnsembleRecognizer', 'recognizers': within}}[
        request.param]


def at(seed):
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)


@pytest.mark.slow
def test_what_was_drawn_before_changes_no_weight_and_what_is_drawn_after_does_not_change(block):
    digests, after = [], []
    for seed in (1, 2):
        at(seed)
        digests.append(weights_digest(build_recognizer(block, 'val.recognizers.a')))
        after.append((torch.rand(1).item(), np.random.rand(), random.random()))
    assert digests[0] == digests[1]
    at(2)
    assert after[1] == (torch.rand(1).item(), np.random.rand(), random.random())


@pytest.mark.slow
def test_a_member_of_an_ensemble_is_the_recognizer_that_its_block_says():
    ensemble = build_recognizer({'type': 'EnsembleRecognizer', 'recognizers': [{**TIMM, 'fit': 'stretch'}, TIMM]})
    assert weights_digest(build_recognizer(TIMM).model) == weights_digest(ensemble.model[1].model)


def test_one_that_learns_starts_from_the_seed_of_the_run():
    starts = []
    for seed in (1, 2, 1):
        at(seed)
        starts.append(weights_digest(RecogLoss({**MODULE, 'trainable': True}).recognizer.model))
    assert starts[0] == starts[2] != starts[1]
