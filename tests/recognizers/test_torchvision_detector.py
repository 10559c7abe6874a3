"""Detectors of torchvision against the library's own networks in training and in inference mode."""
import copy
import dataclasses
import hashlib
import logging
import pickle
import re

import pytest
import torch
import torchvision
from PIL import Image
from torch import nn
from torch.nn.functional import interpolate
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor
from torchvision_nets import DETECTORS, HEIGHT, NUM_CLASSES, WIDTH, images, in_training, native, pair, pictures

from ra_plugin.losses import RecogConsistencyLoss, RecogFeatureLoss, RecogLoss
from ra_plugin.recognizers import TorchvisionRecognizer, build_recognizer
from ra_plugin.recognizers.class_slots import ClassSlots
from ra_plugin.recognizers.facts import TaskError
from ra_plugin.recognizers.torchvision_models import TorchvisionClassifier, TorchvisionDetector, TorchvisionSegmenter

SSDLITE, FASTER = list(DETECTORS)[:2]
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in list(DETECTORS)[2:]]
ALL = [SSDLITE, FASTER, *SLOW]
BOXES = torch.tensor([[8., 6, 40, 50], [30, 20, 90, 60]])


def labels(count=2):
    """Two objects in the first image, none in the others; masks fill the boxes."""
    items = [{'boxes': BOXES[:0], 'labels': torch.zeros(0, dtype=torch.long),
              'masks': torch.zeros(0, HEIGHT, WIDTH, dtype=torch.bool)} for _ in range(count)]
    masks = torch.zeros(2, HEIGHT, WIDTH, dtype=torch.bool)
    masks[0, 6:50, 8:40] = masks[1, 20:60, 30:90] = True
    return [{'boxes': BOXES, 'labels': torch.tensor([0, 2]), 'masks': masks}, *items[1:]]


def summed(terms):
    return sum(terms.values())


def native_loss(model, inputs, items):
    """The training loss of the library, whose classes begin with the background."""
    targets = [{'boxes': item['boxes'], 'labels': item['labels'] + 1, 'masks': item['masks'].byte()} for item in items]
    torch.manual_seed(0)
    return in_training(copy.deepcopy(model))(inputs, targets)


# ------------------------------------------------------------------------ the loss
@pytest.mark.slow
@pytest.mark.parametrize('name', ALL)
def test_the_loss_is_the_library_s_own_of_8_bit_images(name):
    recognizer, model = pair(name)
    items = labels()
    ours = recognizer.loss(images(), items)
    theirs = native_loss(model, list(images()), items)
    assert ours.keys() == theirs.keys() and all(value.dim() == 0 for value in ours.values())
    for term, value in theirs.items():
        torch.testing.assert_close(ours[term], value, rtol=1e-5, atol=1e-6)
    assert summed(theirs) > 0


@pytest.mark.slow
@pytest.mark.parametrize('name', ALL)
def test_it_stays_frozen_and_repeats(name):
    recognizer = pair(name)[0].train()
    before = copy.deepcopy(recognizer.state_dict())
    losses, gradients = [], []
    for _ in range(2):
        x = images().requires_grad_()
        loss = RecogLoss(recognizer)(x, labels())
        loss.backward()
        losses.append(loss.item())
        gradients.append(x.grad)
        torch.rand(3)
    assert losses[0] == losses[1] and torch.equal(*gradients)
    assert gradients[0].isfinite().all() and gradients[0][0].any()
    assert all(p.grad is None and not p.requires_grad for p in recognizer.model.parameters())
    assert all(torch.equal(value, before[key]) for key, value in recognizer.state_dict().items())
    assert not any(module.training for module in recognizer.model.modules())


@pytest.mark.slow
@pytest.mark.parametrize('name', ALL)
def test_an_image_that_is_not_finite_has_a_loss_that_is_none(name):
    recognizer = pair(name)[0]
    x = torch.full_like(images(), torch.nan).requires_grad_()
    terms = recognizer.loss(x, labels())
    assert summed(terms).isnan() and list(terms) == list(recognizer.loss(images(), labels()))
    gradient, = torch.autograd.grad(summed(terms), x)
    assert not gradient.isfinite().all()


@pytest.mark.slow
def test_sampling_follows_the_seed_and_no_other_stream():
    recognizer = copy.deepcopy(pair(FASTER)[0])
    recognizer.model.rpn.fg_bg_sampler.batch_size_per_image = 16
    state = torch.get_rng_state()
    first = summed(recognizer.loss(images(), labels()))
    assert torch.equal(torch.get_rng_state(), state)
    recognizer.seed = 1
    assert summed(recognizer.loss(images(), labels())) != first


@pytest.mark.slow
def test_images_of_the_loss_are_resized_as_in_inference():
    """Training draws one of several sizes."""
    recognizer, model = pair(FASTER, min_size=(48, 64), max_size=96)
    model.transform.min_size = (64,)
    theirs = native_loss(model, list(images()), labels())
    torch.testing.assert_close(summed(recognizer.loss(images(), labels())), summed(theirs))


def slope(recognizer, image, label):
    """The length of the gradient, and the slope of the loss in its direction."""

    def loss(given):  # the library computes that of objectness in 32 bits
        return sum(term for term in recognizer.loss(given, label).values() if term.dtype == torch.float64)

    image = image.clone().requires_grad_()
    gradient, = torch.autograd.grad(loss(image), image)
    step = 1e-6 * gradient / gradient.norm()
    with torch.no_grad():
        ahead, behind = loss(image + step), loss(image - step)
    return gradient.norm().item(), (ahead - behind).item() / 2e-6


@pytest.mark.parametrize('name', [SSDLITE, pytest.param(FASTER, marks=pytest.mark.slow)])
def test_the_gradient_is_the_slope(name, monkeypatch):
    recognizer, image = copy.deepcopy(pair(name, resize=None)[0]).double(), images(1).double()
    if name == FASTER:  # no gradient flows through the choice of proposals
        rpn = recognizer.model.rpn
        with torch.no_grad():
            inputs = recognizer._inputs(image)
            fixed = rpn(inputs, recognizer.model.backbone(inputs.tensors))[0]
        monkeypatch.setattr(rpn, 'filter_proposals', lambda *args: ([boxes.clone() for boxes in fixed], None))
    length, measured = slope(recognizer, image, labels(1))
    assert length > 0 and measured == pytest.approx(length, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize('name', ALL)
def test_an_image_without_objects(name):
    recognizer, x = pair(name)[0], images(1).requires_grad_()
    loss = RecogLoss(recognizer)(x, labels()[1:])
    loss.backward()
    assert loss.isfinite() and x.grad.isfinite().all()


@pytest.mark.slow
def test_boxes_without_area_and_boxes_to_ignore_are_left_out():
    recognizer = pair(SSDLITE)[0]
    plain = summed(recognizer.loss(images(1), labels(1)))
    more = {'boxes': torch.cat([BOXES, torch.tensor([[10., 10, 10, 40], [0, 0, 96, 64]])]),
            'labels': torch.tensor([0, 2, 1, 1]), 'ignore': torch.tensor([False, False, False, True])}
    assert summed(recognizer.loss(images(1), [more])) == plain
    more['ignore'][3] = False
    assert summed(recognizer.loss(images(1), [more])) != plain


@pytest.mark.slow
@pytest.mark.parametrize('name', [SSDLITE, FASTER])
def test_a_padded_batch_is_the_library_s_list_of_images(name):
    recognizer, model = pair(name)
    sizes = [(64, 96), (48, 64)]
    items = [labels(1)[0], {'boxes': torch.tensor([[5., 5, 40, 40]]), 'labels': torch.tensor([1]),
                            'masks': torch.zeros(1, 48, 64, dtype=torch.bool)}]
    batch = torch.rand(2, 3, HEIGHT, WIDTH)  # the padding is no zero
    inputs = [images(1, size)[0] for size in sizes]
    for item, image, own, (height, width) in zip(items, batch, inputs, sizes, strict=True):
        item['size'] = (height, width)
        image[:, :height, :width] = own
    theirs = native_loss(model, inputs, items)
    torch.testing.assert_close(summed(recognizer.loss(batch, items)), summed(theirs), rtol=1e-5, atol=1e-6)


# ------------------------------------------------------------------------ sizes
@pytest.mark.parametrize('name, tolerance', [
    (SSDLITE, 1e-5),
    pytest.param(FASTER, 1e-2, marks=pytest.mark.slow),  # a rounding changes which proposals are sampled
])
def test_a_factor_is_the_image_at_that_size(name, tolerance):
    twice = [{**item, 'boxes': 2 * item['boxes']} for item in labels(1)]
    large = interpolate(images(1), scale_factor=2, mode='bilinear')
    ours, theirs = pair(name, resize=2.0)[0], pair(name, resize=None)[0]
    size, double = (HEIGHT, WIDTH), (2 * HEIGHT, 2 * WIDTH)
    fed, targets = ours.model.transform([*images(1)], ours.targets(labels(1), [size], large.device))
    expected, their_targets = theirs.model.transform([*large], theirs.targets(twice, [double], large.device))
    torch.testing.assert_close(fed.tensors, expected.tensors)
    torch.testing.assert_close(targets[0]['boxes'], their_targets[0]['boxes'])
    torch.testing.assert_close(summed(ours.loss(images(1), labels(1))), summed(theirs.loss(large, twice)),
                               rtol=tolerance, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize('resize, size, words', [
    ('model', (640, 960), 'images resized as its own transform does'), (None, (64, 96), 'images as they come'),
    (1.5, (96, 144), 'images resized by 1.5')])
def test_how_images_are_resized_is_told(resize, size, words):
    recognizer = pair(FASTER, resize=resize, min_size=640, max_size=1000)[0]
    assert recognizer.resized(HEIGHT, WIDTH) == size and recognizer.resizing() == words
    assert recognizer.resizes_as_whole_images is (resize == 'model')


@pytest.mark.slow
@pytest.mark.parametrize('name', [SSDLITE, FASTER])
def test_the_input_is_that_of_its_own_preprocessing(name):
    recognizer, model = pair(name)
    own = recognizer.own_preprocessing()
    picture = pictures(1, (50, 70))
    theirs = model.transform([picture[0].float() / 255])[0].tensors
    torch.testing.assert_close(recognizer.prepare(picture.float() / 255), theirs)
    shown = own.transform(Image.fromarray(picture[0].permute(1, 2, 0).numpy()))
    torch.testing.assert_close(shown, theirs)
    assert own.mean == tuple(model.transform.image_mean) == recognizer.info.mean
    assert own.std == tuple(model.transform.image_std)
    assert pair(name, resize=None)[0].own_preprocessing().transform is None


@pytest.mark.slow
def test_batch_norm_is_folded_on_small_images():
    recognizer = copy.deepcopy(pair(FASTER, min_size=800, max_size=1333)[0])
    seen = []
    recognizer.model.backbone.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[-1]))
    before = recognizer.features(images(1, (32, 32)))
    recognizer.fold_batch_norm()
    assert recognizer.folded_norms > 40 and seen[0] == 800 and set(seen[1:]) == {64}
    assert recognizer.resized(HEIGHT, WIDTH) == (800, 1200)
    torch.testing.assert_close(recognizer.features(images(1, (32, 32))), before, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_blocks_are_computed_again():
    recognizer = copy.deepcopy(pair(SSDLITE, resize=None)[0])
    before = summed(recognizer.loss(images(), labels()))
    recognizer.set_grad_checkpointing()
    assert recognizer.checkpointed
    torch.testing.assert_close(summed(recognizer.loss(images(), labels())), before)


# ------------------------------------------------------------------------ answers
@pytest.mark.slow
@pytest.mark.parametrize('name', ALL)
def test_predictions_are_the_library_s(name):
    recognizer, model = pair(name)
    for one in (recognizer.model, model):
        for part in (one, getattr(one, 'roi_heads', None)):
            if hasattr(part, 'score_thresh'):
                part.score_thresh = 0.001
    with torch.no_grad():
        theirs = model(list(images()))
    for ours, found in zip(recognizer.predict(images()), theirs, strict=True):
        known = found['labels'] > 0  # random weights find the background, too, where it has a sigmoid
        assert known.any() and torch.equal(ours['labels'], found['labels'][known] - 1)
        torch.testing.assert_close(ours['boxes'], found['boxes'][known], rtol=1e-4, atol=1e-3)
        torch.testing.assert_close(ours['scores'], found['scores'][known])
        assert (ours['scores'].diff() <= 0).all()
        assert ('masks' in ours) == ('masks' in found)
        if 'masks' in ours:
            assert torch.equal(ours['masks'], found['masks'][known, 0] >= 0.5) and ours['masks'].any()


@pytest.mark.parametrize('name, distance', [
    *((FASTER, distance) for distance in ('probability', 'kl', 'l1', 'cosine')), (SSDLITE, 'kl'),
    *(pytest.param(*slow.values, 'kl', marks=pytest.mark.slow) for slow in SLOW)])
def test_answers_to_equal_images_are_equal_and_to_others_are_not(name, distance):
    loss = RecogConsistencyLoss(pair(name)[0], distance=distance)
    clean = images()
    restored = (clean + 0.1 * torch.rand_like(clean)).clamp(0, 1).requires_grad_()
    value = loss(restored, clean)
    value.backward()
    assert value > 0 and restored.grad.isfinite().all() and all(gradient.any() for gradient in restored.grad)
    assert loss(clean, clean).item() == pytest.approx(0, abs=1e-6)
    assert RecogFeatureLoss(loss.recognizer)(restored, clean) > 0


@pytest.mark.slow
def test_dense_answers_are_those_of_the_head():
    """Against the formula: a decision for each class; boxes weighted by foreground, in units of their size."""
    recognizer, model = pair('retinanet_resnet50_fpn')
    with torch.no_grad():
        outputs = recognizer.outputs(images(1))
        maps = list(model.backbone(model.transform(list(images(1)))[0].tensors).values())
        answers = model.head(maps)
    scores, boxes = answers['cls_logits'][0, :, 1:].double(), answers['bbox_regression'][0].double()
    torch.testing.assert_close(outputs['logits'][0, 0].double().sort()[0], scores.flatten().sort()[0])
    assert not outputs['logits'][0, 1].any()
    counts = [9 * level.shape[-2] * level.shape[-1] for level in maps]
    weighted = []
    for level_scores, level_boxes in zip(scores.split(counts), boxes.split(counts), strict=True):
        foreground = level_scores.sigmoid().amax(1, keepdim=True)
        size = ((foreground * level_boxes.square()).sum() / (4 * foreground.sum())).sqrt()
        weighted.append((foreground * level_boxes / size).flatten())
    expected = torch.cat(weighted).sort()[0]
    torch.testing.assert_close(outputs['regression'][0].double().sort()[0], expected, rtol=1e-4, atol=1e-6)


def test_a_softmax_has_its_background_last():
    recognizer, model = pair(SSDLITE)
    with torch.no_grad():
        outputs = recognizer.outputs(images(1))
        found = model.head(list(model.backbone(model.transform(list(images(1)))[0].tensors).values()))['cls_logits']
    ours, theirs = outputs['logits'][0].softmax(0), found[0].softmax(1)
    for mine, own in ((3, 0), (0, 1), (1, 2), (2, 3)):
        torch.testing.assert_close(ours[mine].sort()[0], theirs[:, own].sort()[0])
    torch.testing.assert_close(torch.cat([w.flatten() for w in outputs['weights']]), 1 - ours[3])


@pytest.mark.slow
def test_places_in_the_padding_are_left_out():
    recognizer = pair('fcos_resnet50_fpn', resize=None)[0]
    whole, padded = (recognizer.outputs(images(1, size))['logits'].shape[2] / 3 for size in ((64, 96), (64, 68)))
    assert whole == 8 * 12 + 4 * 6 + 2 * 3 + 1 * 2 + 1 and padded == 8 * 9 + 4 * 5 + 2 * 3 + 1 * 2 + 1
    assert recognizer.features(images(1, (64, 200))).shape[-2:] == (1, 2)


def test_the_second_stage_answers_for_the_clean_image_s_proposals(monkeypatch):
    recognizer, model = pair(FASTER)
    clean, restored = images(4)[:2], images(4)[2:]
    reference = recognizer.outputs(clean)
    counts = [len(boxes) for boxes in reference['proposals']]
    assert min(counts) > 1 and torch.equal(reference['proposals'][0][0], torch.tensor([0., 0, WIDTH, HEIGHT]))
    assert reference['logits'].shape == (2, 4, max(counts))
    monkeypatch.setattr(recognizer.model.rpn, 'forward', None)  # would fail if it were asked
    answers = recognizer.outputs(restored, reference)
    assert set(answers) == {'logits', 'regression'}
    with torch.no_grad():
        features = model.backbone(model.transform(list(restored))[0].tensors)
        heads = model.roi_heads
        scores, boxes = heads.box_predictor(heads.box_head(heads.box_roi_pool(
            features, reference['proposals'], [(HEIGHT, WIDTH)] * 2)))
    first = counts[0]
    torch.testing.assert_close(answers['logits'][0, :, :first], scores[:first, [1, 2, 3, 0]].T)
    p = reference['logits'][0].softmax(0)[:3, :first].T  # of each class's own box
    expected = boxes[:first].view(first, 4, 4)[:, 1:] * p[..., None] / reference['sizes'][0][0]
    torch.testing.assert_close(answers['regression'][0, :12 * first], expected.flatten())


# ------------------------------------------------------------------------ classes
def test_classes_are_those_that_coco_has():
    recognizer = TorchvisionRecognizer(SSDLITE, pretrained=False)
    names = torchvision.models.detection.SSDLite320_MobileNet_V3_Large_Weights.DEFAULT.meta['categories']
    assert recognizer.info.num_classes == len(recognizer.info.classes) == 80
    assert recognizer.info.classes[0] == 'person' and recognizer.info.classes[79] == 'toothbrush'
    slots = recognizer.slots
    assert [names[place] for place in slots.places] == list(recognizer.info.classes)
    everything = torch.arange(80)
    assert torch.equal(slots.from_network(slots.to_network(everything)), everything)
    assert slots.from_network(torch.tensor([0, 1, 12, 90])).tolist() == [-1, 0, -1, 79]  # 12: 'N/A'


@pytest.mark.mm
def test_classes_are_in_the_order_of_mmdet_s():
    from mmdet.datasets import CocoDataset
    names = torchvision.models.detection.FCOS_ResNet50_FPN_Weights.DEFAULT.meta['categories']
    assert ClassSlots.of(91, names).names == CocoDataset.METAINFO['classes']


@pytest.mark.slow
def test_objects_of_no_class_are_left_out():
    recognizer = copy.deepcopy(TorchvisionRecognizer(SSDLITE, pretrained=False))
    found = {'boxes': torch.rand(4, 4), 'labels': torch.tensor([12, 90, 0, 1]), 'scores': torch.linspace(0.9, 0.6, 4)}
    recognizer.model.forward = lambda inputs: [found for _ in inputs]
    one = recognizer.predict(images(1))[0]
    assert one['labels'].tolist() == [79, 0] and torch.equal(one['boxes'], found['boxes'][[1, 3]])


# ------------------------------------------------------------------------ masks and keypoints
@pytest.mark.slow
def test_masks_are_asked_for():
    recognizer = pair('maskrcnn_resnet50_fpn')[0]
    item = {key: value for key, value in labels(1)[0].items() if key != 'masks'}
    with pytest.raises(ValueError, match='its loss needs masks.*with_masks: true'):
        recognizer.loss(images(1), [item])


@pytest.mark.slow
def test_keypoints_judge_and_are_compared_but_are_no_supervised_loss():
    block = {'type': 'TorchvisionRecognizer', 'model_name': 'keypointrcnn_resnet50_fpn', 'pretrained': False,
             'resize': None, 'model_kwargs': {'box_detections_per_img': 5, 'rpn_post_nms_top_n_test': 20}}
    with pytest.raises(TaskError, match=r'^RecogLoss\.recognizer: .*its loss needs keypoints') as error:
        RecogLoss(block)
    assert '\n' not in str(error.value)
    recognizer = build_recognizer(block)
    assert recognizer.info.classes == ('person',)
    with pytest.raises(TaskError, match='its loss needs keypoints'):
        recognizer.loss(images(), [{**item, 'labels': 0 * item['labels']} for item in labels()])
    assert set(recognizer.predict(images())[0]) == {'boxes', 'labels', 'scores'}
    assert RecogConsistencyLoss(recognizer)(images().flip(0), images()) > 0


# ------------------------------------------------------------------------ types, copies, weights
@pytest.mark.parametrize('name', [SSDLITE, pytest.param(FASTER, marks=pytest.mark.slow)])
@pytest.mark.parametrize('of_weights', [False, True])
def test_16_bits_of_the_network_are_near(name, of_weights):
    recognizer = copy.deepcopy(pair(name)[0])
    expected = recognizer.loss(images(), labels())
    if of_weights:
        recognizer.to(torch.bfloat16)
    else:
        recognizer.autocast_to = torch.bfloat16
    found = recognizer.loss(images(), labels())
    assert all(value.dtype == torch.float32 for value in found.values())
    assert summed(found).item() == pytest.approx(summed(expected).item(), rel=0.1)
    assert recognizer.predict(images())[0]['boxes'].dtype == torch.float32
    assert recognizer.outputs(images())['logits'].dtype == recognizer.features(images()).dtype == torch.float32


@pytest.mark.slow
@pytest.mark.parametrize('copied', [copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))], ids=['copy', 'pickle'])
def test_a_copy_answers_as_the_original(copied):
    recognizer = pair(SSDLITE, resize=1.5)[0]
    again = copied(recognizer)
    assert type(again) is TorchvisionDetector and str(again) == f'TorchvisionRecognizer({SSDLITE})'
    assert summed(again.loss(images(), labels())) == summed(recognizer.loss(images(), labels()))
    again.model.transform.image_mean = [0, 0, 0]
    assert not torch.equal(again.prepare(images()), recognizer.prepare(images()))


def old_names(weights):
    """A state dict as torchvision saved it before 0.14."""
    renamed = {}
    for key, value in weights.items():
        key = re.sub(r'_blocks\.(\d)\.0\.', r'_blocks.\1.', key)
        key = key.replace('rpn.head.conv.0.0.', 'rpn.head.conv.')
        key = re.sub(r'mask_head\.(\d)\.0\.', lambda found: f'mask_head.mask_fcn{int(found[1]) + 1}.', key)
        renamed[re.sub(r'_head\.conv\.(\d)\.0\.', lambda found: f'_head.conv.{2 * int(found[1])}.', key)] = value
    return renamed


@pytest.mark.slow
@pytest.mark.parametrize('name', ['maskrcnn_resnet50_fpn', 'retinanet_resnet50_fpn'])
def test_weights_of_older_versions_are_read_as_by_the_library(name, tmp_path):
    model = native(name)
    torch.save({'model': old_names(model.state_dict())}, tmp_path / 'old.pth')
    other = native(name)
    for parameter in other.parameters():
        parameter.data.zero_()
    other.load_state_dict(old_names(model.state_dict()))  # it renames them
    recognizer = TorchvisionRecognizer(name, checkpoint=str(tmp_path / 'old.pth'), model_kwargs={
        'num_classes': 4, **DETECTORS[name]})
    for key, value in other.state_dict().items():
        assert torch.equal(recognizer.model.state_dict()[key], value), key


@pytest.mark.slow
def test_published_weights_in_a_file_have_no_eps(tmp_path, monkeypatch):
    """The library takes it away from its own frozen batch norms after loading."""
    model = native('retinanet_resnet50_fpn', num_classes=91)
    torch.save(model.state_dict(), tmp_path / 'net.pth')
    own = torchvision.models.detection.RetinaNet_ResNet50_FPN_Weights.COCO_V1
    digest = hashlib.sha256((tmp_path / 'net.pth').read_bytes()).hexdigest()
    monkeypatch.setattr(own, '_value_', dataclasses.replace(own.value, url=f'https://x/net-{digest[:8]}.pth'))
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    (tmp_path / 'checkpoints').mkdir()
    (tmp_path / 'net.pth').rename(tmp_path / 'checkpoints' / f'net-{digest[:8]}.pth')
    fetched = torchvision.models.get_model('retinanet_resnet50_fpn', weights=own, min_size=64, max_size=96).eval()
    recognizer = TorchvisionRecognizer('retinanet_resnet50_fpn', model_kwargs={'min_size': 64, 'max_size': 96},
                                       checkpoint=str(tmp_path / 'checkpoints' / f'net-{digest[:8]}.pth'))
    assert recognizer.published == 'COCO_V1'
    assert {layer.eps for layer in fetched.backbone.body.modules() if hasattr(layer, 'eps')} == {0.0}
    theirs = list(fetched.backbone(recognizer.prepare(images())).values())[-1]
    torch.testing.assert_close(recognizer.features(images()), theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_the_eps_of_weights_that_were_trained_on_can_be_said(tmp_path, monkeypatch):
    """The library's own fine-tuning: from weights without eps, with another head."""
    name, own = 'fasterrcnn_resnet50_fpn', torchvision.models.detection.FasterRCNN_ResNet50_FPN_Weights.COCO_V1
    published = native(name, num_classes=91).state_dict()
    published['backbone.body.bn1.running_var'].fill_(1e-4)
    published['backbone.body.bn1.weight'].fill_(1e-2)
    monkeypatch.setattr(type(own), 'get_state_dict', lambda *args, **kwargs: published)
    tuned = torchvision.models.get_model(name, weights=own, **DETECTORS[name]).eval()
    tuned.roi_heads.box_predictor = FastRCNNPredictor(1024, NUM_CLASSES)
    torch.save(tuned.state_dict(), tmp_path / 'tuned.pth')
    block = {'model_name': name, 'checkpoint': str(tmp_path / 'tuned.pth'),
             'model_kwargs': {'num_classes': NUM_CLASSES, **DETECTORS[name]}}
    recognizer = TorchvisionRecognizer(**block, norm_eps=0)
    theirs = tuned.backbone(recognizer.prepare(images()))
    ours = recognizer.model.backbone(recognizer.prepare(images()))
    for key, level in theirs.items():
        torch.testing.assert_close(ours[key], level, rtol=1e-4, atol=1e-4)
    monkeypatch.setattr(logging.getLogger('basicsr'), 'handlers', [])  # no run has a log
    with pytest.warns(UserWarning, match='the eps of its batch norm is not known, and taken as 1e-5. Set norm_eps: 0'):
        other = TorchvisionRecognizer(**block)
    assert {layer.eps for layer in other.model.backbone.modules() if isinstance(layer, nn.BatchNorm2d)} == {1e-5}
    level = other.model.backbone(other.prepare(images()))['0']
    assert (level - theirs['0']).norm() > 0.01 * level.norm()


def test_features_are_the_last_level_of_the_pyramid_and_not_every_other_place_of_it():
    recognizer, model = pair('fasterrcnn_mobilenet_v3_large_320_fpn')
    levels = model.backbone(recognizer.prepare(images()))
    assert torch.equal(levels['pool'], levels['1'][..., ::2, ::2])
    torch.testing.assert_close(recognizer.features(images()), levels['1'], rtol=1e-4, atol=1e-4)


# ------------------------------------------------------------------------ errors
@pytest.mark.slow
@pytest.mark.parametrize('kwargs, message', [
    ({'model_name': 'fasterrcnn_resnet50_fp', 'weights': 'DEFAULT'},
     "no such classifier, detector or segmenter. Did you mean 'fasterrcnn_resnet50_fpn'?"),
    ({'model_name': 'r3d_18', 'weights': 'DEFAULT'}, 'no such classifier, detector or segmenter'),
    ({}, 'set one of weights (e.g. DEFAULT) and checkpoint: FILE, or pretrained: false for random weights'),
    ({'pretrained': False, 'weights': 'DEFAULT'}, 'set one of weights'),
    ({'pretrained': True}, 'pretrained: true does not say which weights. Set weights: DEFAULT'),
    ({'weights': 'V3'}, "no weights 'V3'. Known: COCO_V1"),
    ({'pretrained': False, 'input_size': 224}, 'input_size: is an option of a classifier, and this is a detector'),
    ({'pretrained': False, 'fit': 'border'}, 'fit: is an option of a classifier'),
    ({'pretrained': False, 'feature_layer': 'backbone'}, 'feature_layer: is an option of a classifier'),
    ({'model_name': 'resnet18', 'pretrained': False, 'resize': None},
     'resize: is an option of a detector or a segmenter, and this is a classifier'),
    ({'model_name': 'lraspp_mobilenet_v3_large', 'pretrained': False, 'seed': 3}, 'seed: is an option of a detector'),
    ({'pretrained': False, 'resize': 0}, "resize: expected 'model', a factor > 0 or ~, got 0"),
    ({'pretrained': False, 'seed': -1}, 'seed: expected a whole number'),
    ({'pretrained': False, 'model_kwargs': {'num_classes': 1}}, 'num_classes: expected 2 or more, since'),
    ({'pretrained': False, 'model_kwargs': {'num_classes': 'ten'}}, 'num_classes: expected a whole number'),
    ({'pretrained': False, 'model_kwargs': {'weights': 'DEFAULT'}}, "weights: is the recognizer's own key"),
    ({'pretrained': False, 'model_kwargs': {'score_thrsh': 0.5}}, "takes no 'score_thrsh'"),
    ({'pretrained': False, 'norm_eps': 0.0}, 'norm_eps: is for a checkpoint'),
    ({'model_name': 'resnet18', 'pretrained': False, 'norm_eps': 0.0}, 'norm_eps: is an option of a detector'),
    ({'checkpoint': 'none.pth'}, 'no checkpoint none.pth')])
def test_bad_options_are_one_line(kwargs, message):
    with pytest.raises((ValueError, FileNotFoundError), match=re.escape(message)) as error:
        TorchvisionRecognizer(**{'model_name': SSDLITE, **kwargs})
    assert '\n' not in str(error.value) and str(error.value).startswith('TorchvisionRecognizer(')


@pytest.mark.slow
def test_a_checkpoint_that_does_not_fit_is_one_line(tmp_path):
    torch.save(native(SSDLITE).state_dict(), tmp_path / 'net.pth')
    with pytest.raises(ValueError, match=r'net\.pth does not fit the model: \d+ keys of another shape'):
        TorchvisionRecognizer(SSDLITE, checkpoint=str(tmp_path / 'net.pth'))
    recognizer = TorchvisionRecognizer(SSDLITE, checkpoint=str(tmp_path / 'net.pth'), model_kwargs={'num_classes': 4})
    assert recognizer.info.num_classes == 3 and recognizer.info.classes is None and recognizer.published is None


def test_bad_labels_and_sizes_are_one_line():
    recognizer = pair(SSDLITE)[0]
    with pytest.raises(ValueError, match=r'image 0: expected labels in 0\.\.2, got 0\.\.3'):
        recognizer.loss(images(1), [{'boxes': BOXES, 'labels': torch.tensor([0, 3])}])
    with pytest.raises(ValueError, match=r'expected float images \(N, 3, H, W\), got torch.uint8'):
        recognizer.predict(pictures())


@pytest.mark.slow
def test_an_image_that_is_too_small():
    with pytest.raises(ValueError, match=r'cannot take 1 image of 40x40 .* as \d+x\d+, or another resize'):
        pair('ssd300_vgg16', resize=None)[0].predict(torch.rand(1, 3, 40, 40))


def test_what_is_not_about_the_size_is_said_as_it_is(monkeypatch):
    def fail(*args):
        raise ValueError('a box without a width')

    recognizer = copy.deepcopy(pair(SSDLITE)[0])
    monkeypatch.setattr(recognizer.model, 'compute_loss', fail)
    with pytest.raises(ValueError, match='^a box without a width$'):
        recognizer.loss(images(1), [{'boxes': BOXES, 'labels': torch.tensor([0, 1])}])


@pytest.mark.slow
def test_a_detector_cannot_learn():
    with pytest.raises(ValueError, match='cannot learn. Expected a classifier'):
        copy.deepcopy(pair(SSDLITE)[0]).unfreeze()
    with pytest.raises(ValueError, match='cannot learn. Expected a classifier'):
        RecogLoss({'type': 'TorchvisionRecognizer', 'model_name': SSDLITE, 'pretrained': False, 'trainable': True})


@pytest.mark.parametrize('cls, name, message', [
    (TorchvisionDetector, 'resnet18', 'expected a detector, got a classifier. Use TorchvisionClassifier'),
    (TorchvisionSegmenter, FASTER, 'expected a segmenter, got a detector. Use TorchvisionDetector'),
    (TorchvisionClassifier, 'lraspp_mobilenet_v3_large', 'expected a classifier, got a segmenter. Use TorchvisionSegm'),
])
def test_a_class_of_one_task_refuses_networks_of_another(cls, name, message):
    with pytest.raises(TaskError, match=rf'^TorchvisionRecognizer\({name}\): {message}') as error:
        cls(name, pretrained=False)
    assert '\n' not in str(error.value)
