"""Losses of transformers where the network computes in 16 bits, and where its answers are not finite."""
import copy
import functools

import pytest
import tiny_transformers as tiny
import torch
from torch import nn
from transformers.loss.loss_utils import LOSS_MAPPING

from ra_plugin.recognizers import TransformersRecognizer

SIZE = (64, 64)
BOXES = torch.tensor([[6.3, 6.0, 30.1, 50.0], [20.0, 12.0, 60.0, 58.7]])
LABEL = [{'boxes': BOXES, 'labels': torch.tensor([0, 2])},
         {'boxes': BOXES[:0], 'labels': torch.zeros(0, dtype=torch.long)}]
MASK_NETWORKS = ('MaskFormer', 'Mask2Former', 'Eomt')


@pytest.fixture(scope='module')
def recognizer(tmp_path_factory):
    """``recognizer('Detr')``: a copy of the family's, built once."""
    build = functools.cache(lambda family: TransformersRecognizer(tiny.save(tmp_path_factory.mktemp(family), family)))
    return lambda family: copy.deepcopy(build(family))


def in_16_bits(recognizer, how):
    if how == 'weights':
        recognizer.bfloat16()
    else:
        recognizer.autocast_to = torch.bfloat16
    return recognizer


@pytest.mark.slow
@pytest.mark.parametrize('how', ['weights', 'autocast'])
@pytest.mark.parametrize('family', ['Detr', 'Yolos', 'ConditionalDetr'])
def test_the_loss_is_the_library_s_of_32_bits_on_answers_of_16(family, how, recognizer):
    recognizer = in_16_bits(recognizer(family), how)
    config = recognizer.model.config
    config.auxiliary_loss = False  # of further decoder layers
    images = torch.rand(2, 3, *SIZE)
    found, answers = recognizer.loss(images, LABEL), recognizer.answers(images)
    left, top, right, bottom = (BOXES / 64).unbind(1)
    boxes = torch.stack([(left + right) / 2, (top + bottom) / 2, right - left, bottom - top], 1)
    targets = [{'class_labels': item['labels'], 'boxes': boxes[:len(item['labels'])]} for item in LABEL]
    expected = LOSS_MAPPING[recognizer.model.loss_type](
        answers.logits, targets, images.device, answers.pred_boxes, config, None, None)[0]
    assert answers.logits.dtype == torch.float32 and expected.dtype == torch.float32
    torch.testing.assert_close(sum(found.values()), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize('how', ['weights', 'autocast'])
@pytest.mark.parametrize('family', [*tiny.DETECTORS, *tiny.SEGMENTERS])
def test_losses_in_16_bits_are_near_those_in_32(family, how, recognizer):
    recognizer = recognizer(family)
    images = torch.rand(2, 3, *SIZE)
    label = LABEL if recognizer.info.task == 'detection' else torch.arange(2).repeat_interleave(32).repeat(2, 64, 1)
    before = sum(recognizer.loss(images, label).values())
    recognizer = in_16_bits(recognizer, how)
    images.requires_grad_()
    after = sum(recognizer.loss(images, label).values())
    gradient, = torch.autograd.grad(after, images)
    assert after.dtype == torch.float32 and gradient.isfinite().all() and gradient.any()
    torch.testing.assert_close(after, before, rtol=0.3, atol=0.1)  # queries may be matched differently


@pytest.mark.slow
def test_weights_of_a_criterion_stay_in_32_bits(recognizer):
    recognizer = in_16_bits(recognizer('MaskFormer'), 'weights')
    recognizer.loss(torch.rand(1, 3, *SIZE), torch.zeros(1, *SIZE, dtype=torch.long))
    assert {buffer.dtype for buffer in recognizer.model.criterion.buffers()} == {torch.float32}
    assert recognizer.dtype == torch.bfloat16


def test_boxes_are_decoded_in_32_bits(recognizer):
    recognizer = in_16_bits(recognizer('Detr'), 'weights')
    images = torch.rand(1, 3, 333, 250).bfloat16()
    found, = recognizer.predict(images)
    x, y, width, height = recognizer.answers(images).pred_boxes[0].unbind(1)
    boxes = torch.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], 1)
    expected = boxes * torch.tensor([250.0, 333.0, 250.0, 333.0])  # of 16 bits 333 would be 332
    assert found['boxes'].dtype == torch.float32
    torch.testing.assert_close(found['boxes'].sort(0)[0], expected.sort(0)[0], rtol=1e-5, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize('family', list(tiny.SEGMENTERS))
def test_label_maps_of_an_image_that_is_not_finite_have_a_loss_that_is_none(family, recognizer):
    recognizer = recognizer(family)
    label = torch.arange(2).repeat_interleave(32).repeat(2, 64, 1)
    images = torch.rand(2, 3, *SIZE)
    images[1] = torch.nan
    images.requires_grad_()
    terms = recognizer.loss(images, label)
    assert list(terms) == ['loss'] and terms['loss'].isnan()
    gradient, = torch.autograd.grad(terms['loss'], images)
    assert gradient.shape == images.shape
    assert recognizer.loss(torch.rand(2, 3, *SIZE), label)['loss'].isfinite()


@pytest.mark.parametrize('family', MASK_NETWORKS)
def test_a_loss_that_fails_on_finite_answers_is_not_hidden(family, recognizer):
    recognizer = recognizer(family)

    class Refusing(nn.Module):
        def forward(self, *args, **kwargs):
            raise ValueError('of the library')

    recognizer.model.criterion = Refusing()
    with pytest.raises(ValueError, match='^of the library$'):
        recognizer.loss(torch.rand(1, 3, *SIZE), torch.zeros(1, *SIZE, dtype=torch.long))
