"""The log of a run has one line per recognizer: its use, weights and image size."""
import re
from types import SimpleNamespace

import pytest
from test_option_file import RECOGNIZER, base

from ra_plugin.losses import RecogConsistencyLoss, RecogLoss
from ra_plugin.recognizers import build_recognizer
from ra_plugin.training.recognizer_log import recognizer_lines

TIMM = {'type': 'TimmRecognizer', 'model_name': 'test_resnet', 'pretrained': False}


def lines(losses, opt, **judges):
    return list(recognizer_lines(SimpleNamespace(cri_recog=losses, eval_recognizers=judges), opt))


def options(blocks, **dataset):
    opt = base()
    opt['train']['recog_opt'] = blocks
    opt['datasets']['train'].update(dataset)
    return opt


@pytest.mark.slow
def test_a_loss_on_enlarged_crops_says_what_that_costs():
    block = {'type': 'RecogLoss', 'loss_weight': 0.01, 'recognizer': TIMM}
    found, = lines([RecogLoss(TIMM, loss_weight=0.01)], options(block, crop_size=64))
    size = build_recognizer(TIMM).info.input_size[0]
    assert found.startswith('train.recog_opt: RecogLoss of weight 0.01 on TimmRecognizer(test_resnet): random weights')
    assert f'images resized to {size}x{size} pixels: crops of 64x64 are enlarged' in found
    times = float(re.search(r'costs about (\S+) times', found)[1])
    assert times == pytest.approx(size ** 2 / 64 ** 2, rel=0.05)


@pytest.mark.parametrize('crop, size', [(32, None), (None, (32, 32)), (64, (32, 32))])
def test_images_that_are_not_enlarged(crop, size):
    recognizer = {**RECOGNIZER, 'input_size': list(size) if size else None}
    found, = lines([RecogLoss(recognizer)], options({'type': 'RecogLoss', 'recognizer': recognizer}, crop_size=crop))
    assert 'enlarged' not in found
    assert found.endswith('images as they come.' if size is None else 'images resized to 32x32 pixels.')


def test_each_member_of_an_ensemble_and_each_judge_has_a_line():
    both = {'type': 'EnsembleRecognizer', 'recognizers': [RECOGNIZER, RECOGNIZER]}
    blocks = [{'type': 'RecogLoss', 'recognizer': RECOGNIZER}, {'type': 'RecogConsistencyLoss', 'recognizer': both}]
    found = lines([RecogLoss(RECOGNIZER), RecogConsistencyLoss(both)], options(blocks),
                  judge=build_recognizer(RECOGNIZER))
    assert [line.partition(':')[0] for line in found] == [
        'train.recog_opt[0]', 'train.recog_opt[1]', 'train.recog_opt[1]', 'val.recognizers.judge']
