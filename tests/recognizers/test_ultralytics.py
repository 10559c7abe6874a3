"""UltralyticsRecognizer against the library's own transforms, losses and predictions."""
import copy
import functools
import itertools
import random

import numpy as np
import pytest
import torch
import ultralytics_networks as small
from PIL import Image
from scipy.optimize import linear_sum_assignment
from ultralytics import YOLO
from ultralytics.data.augment import classify_transforms
from ultralytics.utils import nms, ops
from ultralytics.utils.tal import TaskAlignedAssigner
from ultralytics_networks import as_images, photograph

from ra_plugin.losses import RecogConsistencyLoss
from ra_plugin.recognizers import build_recognizer
from ra_plugin.recognizers.ultralytics_models.detector import UltralyticsDetector
from ra_plugin.recognizers.ultralytics_models.letterbox import Letterbox

pytestmark = pytest.mark.slow

DETECTORS = ['yolov8n', 'yolo11n', 'yolo26n', 'yolov10n', 'yolo11n-seg', 'yolo26n-seg']
HEIGHT, WIDTH = 96, 128
BOXES = [[[10, 8, 60, 90], [40, 20, 120, 70], [70, 60, 100, 90]], [], [[30, 10, 90, 80]]]
LABELS = [[1, 0, 2], [], [1]]


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """``files(name)``: the checkpoint of a small network, written once."""
    folder, made = tmp_path_factory.mktemp('yolo'), {}

    def file(name, classes=small.CLASSES):
        key = name, classes
        if key not in made:
            made[key] = small.save(small.network(f'{name}.yaml', classes), folder / f'{len(made)}_{name}.pt')
        return made[key]

    return file


@pytest.fixture(scope='module')
def build(files):
    """``build(name, ...)``: its recognizer, built once for each set of options."""

    @functools.cache
    def recognizer(name='yolo11n', classes=small.CLASSES, fold=False, **options):
        block = {'type': 'UltralyticsRecognizer', 'model': str(files(name, classes)), 'resize': None, **options}
        return build_recognizer(block, fold_batch_norm=fold)

    return recognizer


def pictures():
    return photograph(HEIGHT, WIDTH), photograph(HEIGHT, WIDTH, 60, 30), photograph(HEIGHT, WIDTH, 120, 50)


def label(boxes=BOXES, labels=LABELS, height=HEIGHT, width=WIDTH):
    """Labels with rectangular masks."""
    items = []
    for own, classes in zip(boxes, labels, strict=True):
        masks = torch.zeros(len(own), height, width, dtype=torch.bool)
        for mask, (left, top, right, bottom) in zip(masks, own, strict=True):
            mask[int(top):int(bottom) + 1, int(left):int(right) + 1] = True  # as OpenCV fills an outline
        items.append({'boxes': torch.tensor(own, dtype=torch.float32).view(-1, 4),
                      'labels': torch.tensor(classes, dtype=torch.long), 'masks': masks})
    return items


# ------------------------------------------------------------ the loss
@pytest.mark.parametrize('name', DETECTORS)
def test_the_loss_is_the_library_s(name, files, build):
    recognizer, network = build(name), small.of_library(files(name))
    batch = small.batch_of_library(pictures(), BOXES, LABELS, None, masks='seg' in name)
    theirs, _ = network.loss(batch)
    terms = recognizer.loss(as_images(*pictures()), label())
    ours = torch.stack(list(terms.values()))
    torch.testing.assert_close(ours * 3, theirs[:len(ours)], rtol=1e-4, atol=1e-5)
    assert not theirs[len(ours):].any() and list(terms)[:1] == ['box_loss'] and len(terms) == 3 + ('seg' in name)


@pytest.mark.parametrize('size', [160, 96])
@pytest.mark.parametrize('name', ['yolo11n', 'yolo26n-seg'])
def test_labels_are_where_the_library_s_transforms_put_them(name, size, build):
    recognizer = build(name, resize='model', imgsz=size)
    theirs = small.batch_of_library(pictures(), BOXES, LABELS, size, masks='seg' in name)
    inputs, places = recognizer._fed(as_images(*pictures()), [(HEIGHT, WIDTH)] * 3)
    assert inputs.shape == theirs['img'].shape and places[0].resized != (HEIGHT, WIDTH)
    torch.testing.assert_close(inputs, theirs['img'], rtol=0, atol=1.5 / 255)  # OpenCV resizes in whole levels
    ours = recognizer._targets(label(), places, torch.device('cpu'))
    torch.testing.assert_close(ours['bboxes'], theirs['bboxes'], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours['cls'], theirs['cls'].flatten())
    torch.testing.assert_close(ours['batch_idx'], theirs['batch_idx'].float())
    if 'seg' in name:  # an outline there, pixels here
        assert ours['masks'].shape == theirs['masks'].shape
        assert (ours['masks'] != theirs['masks']).float().mean() < 0.06


def test_the_gains_are_those_of_the_file_s_training(build):
    box = build().model.args.box, build('yolo11n').model.args.dfl, build().size
    assert box == (6.5, 1.4, (128, 128))
    fresh = build_recognizer({'type': 'UltralyticsRecognizer', 'model': 'yolov8n.yaml', 'pretrained': False})
    assert (fresh.model.args.box, fresh.model.args.cls, fresh.size) == (7.5, 0.5, (640, 640))


@pytest.mark.parametrize('name', ['yolov8n', 'yolo26n'])
def test_the_gradient_is_the_slope_of_the_loss_with_its_targets(name, build, monkeypatch):
    recognizer, images = copy.deepcopy(build(name)).double(), as_images(*pictures()).double().requires_grad_()
    assigned, calls = [], itertools.count()
    assign = TaskAlignedAssigner.forward

    def as_before(*args, **kwargs):  # no gradient flows through the choice of targets
        turn = next(calls) % (2 if name == 'yolo26n' else 1)
        if len(assigned) <= turn:
            assigned.append(assign(*args, **kwargs))
        return assigned[turn]

    monkeypatch.setattr(TaskAlignedAssigner, 'forward', as_before)
    targets = recognizer._targets
    monkeypatch.setattr(recognizer, '_targets', lambda *args: {k: v.double() for k, v in targets(*args).items()})
    torch.set_default_dtype(torch.float64)  # in which the library sums
    try:
        gradient, = torch.autograd.grad(sum(recognizer.loss(images, label()).values()), images)
        direction, step = gradient / gradient.norm(), 1e-6
        with torch.no_grad():
            ahead, behind = (sum(recognizer.loss(images + sign * step * direction, label()).values())
                             for sign in (1, -1))
    finally:
        torch.set_default_dtype(torch.float32)
    assert ((ahead - behind) / (2 * step)).item() == pytest.approx(gradient.norm().item(), rel=1e-4)
    assert all(part.any() for part in gradient)


@pytest.mark.parametrize('name', ['yolo26n', 'yolo11n-seg'])
def test_it_is_frozen_and_repeatable_and_leaves_nothing_changed(name, build):
    recognizer, images = build(name), as_images(*pictures())
    state = copy.deepcopy(recognizer.model.state_dict())
    kept = {key: value for key, value in vars(recognizer.model.model[-1]).items() if not key.startswith('_')}
    streams = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    recognizer.train()
    first, second = (recognizer.loss(images, label()) for _ in range(2))
    with torch.inference_mode():
        recognizer.predict(images)
    third = recognizer.loss(images.requires_grad_(), label())
    sum(third.values()).backward()
    assert all(first[key] == second[key] == third[key] for key in first)
    assert all(torch.equal(a, b) for a, b in zip(state.values(), recognizer.model.state_dict().values(), strict=True))
    now = {key: value for key, value in vars(recognizer.model.model[-1]).items() if not key.startswith('_')}
    assert kept.keys() == now.keys() and all(now[key] is kept[key] for key in kept)
    assert not hasattr(recognizer.model, 'criterion') and not recognizer.model.training
    assert torch.equal(streams[0], torch.get_rng_state()) and streams[2] == random.getstate()
    assert (streams[1] == np.random.get_state()[1]).all() and images.grad.any()
    assert all(parameter.grad is None for parameter in recognizer.model.parameters())


@pytest.mark.parametrize('name', ['yolov8n', 'yolo11n-seg', 'yolo26n-seg'])
def test_images_without_objects(name, build):
    recognizer, images = build(name), as_images(*pictures()).requires_grad_()
    terms = recognizer.loss(images, label([[], [], []], [[], [], []]))
    assert terms['cls_loss'] > 0 and all(value.isfinite() for value in terms.values()) and not terms['box_loss']
    sum(terms.values()).backward()
    assert images.grad.isfinite().all() and images.grad.any()


@pytest.mark.parametrize('resize', [None, 1.5, 'model'])
def test_several_sizes_in_a_batch(build, resize):
    recognizer = build('yolov8n', resize=resize)
    one, other = photograph(96, 128), photograph(80, 64, 60, 30)
    padded = as_images(one, np.pad(other, ((0, 16), (0, 64), (0, 0)), constant_values=77))
    labels = label([BOXES[0], [[5, 9, 50, 70]]], [LABELS[0], [1]])
    labels = [{**item, 'size': size} for item, size in zip(labels, [(96, 128), (80, 64)], strict=True)]
    value = recognizer.loss(padded, labels)
    changed = padded.clone()
    changed[1, :, 80:] = 0
    changed[1, :, :, 64:] = 1
    assert recognizer.loss(changed, labels) == value
    inputs, places = recognizer._fed(padded, [(96, 128), (80, 64)])
    assert inputs.shape[-2:] == places[0].padded == places[1].padded
    place = places[1]
    region = inputs[1, :, place.top:place.top + place.resized[0], place.left:place.left + place.resized[1]]
    alone = torch.nn.functional.interpolate(as_images(other), place.resized, mode='bilinear')[0]
    torch.testing.assert_close(region, alone)


def test_ignored_boxes_and_those_without_area_are_no_targets(build):
    recognizer, images = build('yolov8n'), as_images(*pictures())
    expected = recognizer.loss(images, label())
    more = label()
    more[0] = {'boxes': torch.cat([more[0]['boxes'], torch.tensor([[0., 0, 50, 50], [9, 9, 9, 30]])]),
               'labels': torch.tensor([*LABELS[0], 0, 0]), 'ignore': torch.tensor([False] * 3 + [True, False])}
    assert recognizer.loss(images, more) == expected


def test_labels_out_of_range_and_missing_masks_are_refused(build):
    with pytest.raises(ValueError, match=r'^UltralyticsRecognizer\(\S+yolov8n\): image 0: expected labels in 0..2'):
        build('yolov8n').loss(as_images(*pictures()), label(labels=[[1, 0, 3], [], [1]]))
    bare = [{key: value for key, value in item.items() if key != 'masks'} for item in label()]
    with pytest.raises(ValueError, match='its loss needs masks.*with_masks: true'):
        build('yolo11n-seg').loss(as_images(*pictures()), bare)
    build('yolov8n').loss(as_images(*pictures()), bare)


# ------------------------------------------------------------ preprocessing and predictions
@pytest.mark.parametrize('height, width', [(180, 120), (97, 135), (60, 200), (128, 128)])
def test_images_are_prepared_as_by_the_library_s_predictor(height, width, build):
    recognizer, picture = build(resize='model', imgsz=128), photograph(height, width)
    model = YOLO(recognizer.info.source)
    model.predict(picture[..., ::-1], imgsz=128, verbose=False)
    theirs = model.predictor.preprocess([picture[..., ::-1].copy()])
    ours = recognizer.prepare(as_images(picture))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1.5 / 255)  # OpenCV resizes in whole levels
    assert (ours - theirs).abs().mean() < 0.3 / 255
    transform = recognizer.own_preprocessing().transform
    torch.testing.assert_close(transform(Image.fromarray(picture)), theirs)


@pytest.mark.parametrize('name, options', [
    ('yolov8n', {}), ('yolo11n', {}), ('yolo26n', {}), ('yolo26n', {'end2end': True}), ('yolov10n', {'end2end': True})])
def test_objects_are_those_of_the_library_s_predictor(name, options, files, build, monkeypatch):
    recognizer, picture = build(name, ('thing',), resize='model', imgsz=128, conf=0.25, **options), photograph(180, 150)
    theirs = YOLO(str(files(name, ('thing',)))).predict(
        picture[..., ::-1], imgsz=128, conf=0.25, verbose=False, **({'nms': False} if options else {}))[0].boxes
    place, = recognizer._letterbox.places([picture.shape[:2]])
    rounded = recognizer.own_preprocessing().transform(Image.fromarray(picture))
    assert 5 < len(theirs) < 300 and rounded.shape[-2:] == place.padded
    monkeypatch.setattr(recognizer, '_fed_whole', lambda images: (rounded, place))  # as OpenCV resizes, in whole levels
    ours = recognizer.predict(as_images(picture))[0]
    # objects whose scores a rounding makes equal, or not, change places
    apart = torch.cdist(*(torch.cat([boxes, 100 * scores[:, None]], 1) for boxes, scores in (
        (ours['boxes'], ours['scores']), (theirs.xyxy, theirs.conf))))
    assert len(ours['boxes']) == len(theirs)
    same = linear_sum_assignment(apart)[1]
    torch.testing.assert_close(ours['boxes'], theirs.xyxy[same], rtol=1e-3, atol=0.05)
    torch.testing.assert_close(ours['scores'], theirs.conf[same], rtol=1e-3, atol=1e-3)


def test_scores_of_several_classes_are_those_of_the_library_s_validation(build, files):
    recognizer, images = build('yolov8n'), as_images(*pictures())
    found = recognizer.predict(images)
    with torch.no_grad():
        decoded = small.of_library(files('yolov8n'))(images)
    theirs = nms.non_max_suppression(decoded, 0.001, 0.7, multi_label=True, max_det=300)
    for own, expected in zip(found, theirs, strict=True):
        boxes = ops.clip_boxes(expected[:, :4].clone(), (HEIGHT, WIDTH))
        torch.testing.assert_close(own['boxes'], boxes, rtol=1e-4, atol=1e-3)
        torch.testing.assert_close(own['scores'], expected[:, 4], rtol=1e-4, atol=1e-5)
        assert (own['labels'] == expected[:, 5]).all() and (own['scores'].diff() <= 0).all()
    assert any(len(own['labels'].unique()) > 1 for own in found)


@pytest.mark.parametrize('name', ['yolo11n-seg', 'yolo26n-seg'])
def test_masks_are_those_of_the_library_s_predictor(name, build, files):
    recognizer = build(name, ('thing',), resize='model', imgsz=128, conf=0.25)
    picture = photograph(96, 128)  # fits: not resized
    theirs = YOLO(str(files(name, ('thing',)))).predict(
        picture[..., ::-1], imgsz=128, conf=0.25, retina_masks=True, verbose=False)[0]
    ours = recognizer.predict(as_images(picture))[0]
    assert ours['masks'].shape == (len(ours['boxes']), 96, 128) and ours['masks'].dtype == torch.bool
    kept = ours['masks'].flatten(1).any(1)  # its predictor drops objects without a pixel
    assert kept.sum() > 3
    torch.testing.assert_close(ours['boxes'][kept], theirs.boxes.xyxy, rtol=1e-3, atol=0.05)
    assert (ours['masks'][kept] != theirs.masks.data.bool()).float().mean() < 2e-3
    large = build(name, ('thing',), resize='model', imgsz=128, conf=0.25).predict(as_images(photograph(180, 150)))[0]
    assert large['masks'].shape[1:] == (180, 150) and large['masks'].any()


# ------------------------------------------------------------ answers that are compared
@pytest.mark.parametrize('name', ['yolov8n', 'yolo26n'])
def test_outputs_are_of_the_places_of_the_image(name, build):
    recognizer, images = build(name), as_images(*pictures())
    outputs = recognizer.outputs(images)
    places = sum(HEIGHT // stride * (WIDTH // stride) for stride in (8, 16, 32))
    assert outputs['logits'].shape == (3, 2, 3 * places) and outputs['regression'].shape == (3, 4 * places)
    with torch.no_grad():
        _, raw = recognizer.model(images)
    scores = raw.get('one2many', raw)['scores']
    torch.testing.assert_close(outputs['logits'][:, 0].view(3, 3, places), scores)
    assert recognizer.features(images).shape == (3, 256, 3, 4)
    # at the top left of the input, 96x128, there are 13 and 14 rows and columns of border
    parts = recognizer.outputs(images[..., :70, :100])['logits']
    assert parts.shape[2] == 3 * (10 * 14 + 6 * 8 + 3 * 4)


def test_the_head_that_decodes_is_the_one_that_is_compared(build):
    images = as_images(*pictures())
    one, many = (build('yolo26n', end2end=end2end) for end2end in (True, False))
    assert not torch.allclose(one.outputs(images)['logits'], many.outputs(images)['logits'])
    with torch.no_grad():
        raw = one.model(images)[1]
    torch.testing.assert_close(one.outputs(images)['logits'][:, 0].view(3, 3, -1), raw['one2one']['scores'])
    assert one.loss(images, label()) == many.loss(images, label())


@pytest.mark.parametrize('name', ['yolo11n', 'yolo26n-seg'])
def test_unsupervised_loss(name, build):
    recognizer, clean = build(name, fold=True), as_images(*pictures())
    assert recognizer.folded_norms > 50
    restored = (0.9 * clean).requires_grad_()
    loss = RecogConsistencyLoss(recognizer, distance='kl')
    loss(restored, clean).backward()
    assert all(gradient.any() for gradient in restored.grad) and restored.grad.isfinite().all()
    assert loss(clean, clean).abs() < 1e-6


def test_autocast_and_checkpoints(build):
    recognizer, images = copy.deepcopy(build('yolo11n')), as_images(*pictures()).requires_grad_()
    exact = recognizer.loss(images, label())
    gradient, = torch.autograd.grad(sum(exact.values()), images)
    recognizer.set_grad_checkpointing()
    again, = torch.autograd.grad(sum(recognizer.loss(images, label()).values()), images)
    assert recognizer.checkpointed > 5
    torch.testing.assert_close(again, gradient, rtol=1e-3, atol=1e-5)
    half = copy.deepcopy(build('yolo11n'))
    half.autocast_to = torch.bfloat16
    rounded = half.loss(images, label())
    assert all(value.dtype == torch.float32 for value in rounded.values())
    assert sum(rounded.values()).item() == pytest.approx(sum(exact.values()).item(), rel=0.1)
    assert half.predict(images)[0]['boxes'].dtype == torch.float32


def test_places():
    box = Letterbox((640, 640))
    place, = box.places([(375, 500)])
    assert (place.resized, place.padded, place.top, place.left) == ((480, 640), (480, 640), 0, 0)
    one, other = box.places([(375, 500), (500, 375)])
    assert one.padded == other.padded == (640, 640) and (one.top, one.left, other.left) == (80, 0, 80)
    place, = Letterbox(None, 1.0, 32).places([(50, 70)])
    assert (place.resized, place.padded, place.top, place.left) == ((50, 70), (64, 96), 7, 13)


# ------------------------------------------------------------ classifiers
def test_classifier(build, files):
    recognizer, network = build('yolo11n-cls', resize='model', imgsz=64), small.of_library(files('yolo11n-cls'))
    images, labels = as_images(photograph(64, 64), photograph(64, 64, 60, 30)), torch.tensor([2, 0])
    theirs, _ = network.loss({'img': images, 'cls': labels})
    assert recognizer.loss(images, labels)['cross_entropy'].mean().item() == pytest.approx(theirs.item(), rel=1e-5)
    probabilities, logits = network(images)
    torch.testing.assert_close(recognizer.outputs(images)['logits'], logits)
    torch.testing.assert_close(recognizer.probabilities(images), probabilities)
    assert recognizer.info.classes == small.CLASSES and recognizer.features(images).shape == (2, 1280)
    assert recognizer.predict(images)['labels'][0, 0] == probabilities[0].argmax()


def test_images_are_prepared_as_by_the_library_s_classifier(build):
    recognizer, picture = build('yolo11n-cls', resize='model', imgsz=64), photograph(200, 130)
    theirs = classify_transforms(64)(Image.fromarray(picture))[None]
    torch.testing.assert_close(recognizer.prepare(as_images(picture)), theirs, rtol=0, atol=1.5 / 255)
    torch.testing.assert_close(recognizer.own_preprocessing().transform(Image.fromarray(picture)), theirs)
    recorded = build('yolo11n-cls', resize='model')
    assert recorded.info.input_size == (128, 128) and build('yolo11n-cls').info.input_size is None


def test_a_detector_is_of_the_task_s_class(build):
    assert isinstance(build(), UltralyticsDetector) and str(build()).startswith('UltralyticsRecognizer(')
    assert build().info.classes == small.CLASSES
