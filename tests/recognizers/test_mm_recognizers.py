"""MMDetRecognizer and MMSegRecognizer against the libraries' own pipelines, preprocessors, losses and predictions."""
import copy
import random
import re
from pathlib import Path

import cv2
import mm_configs as small
import numpy as np
import pytest
import torch
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData, PixelData

from ra_plugin.losses import RecogConsistencyLoss, RecogFeatureLoss, RecogLoss
from ra_plugin.recognizers import MMDetRecognizer, MMSegRecognizer, build_recognizer
from ra_plugin.recognizers.facts import TaskError
from ra_plugin.recognizers.openmmlab import mmdet_recognizer
from ra_plugin.recognizers.openmmlab import model as openmmlab_model

pytestmark = pytest.mark.mm

DETECTORS = {'retinanet': small.RETINANET, 'fcos': small.FCOS, 'faster_rcnn': small.FASTER_RCNN,
             'mask_rcnn': small.MASK_RCNN}
HEIGHT, WIDTH = 64, 96


@pytest.fixture
def detector(tmp_path):
    """``detector(name='retinanet', ...)``: a small one, with the same random weights in each call."""

    def build(name='retinanet', convention='torchvision', transforms=None, classes=small.CLASSES, **kwargs):
        config = small.write_config(tmp_path / f'{name}.py', DETECTORS[name], 'mmdet', convention, transforms, classes)
        torch.manual_seed(3)
        recognizer = MMDetRecognizer(config, **{'pretrained': False, 'resize': None, **kwargs})
        with torch.no_grad():  # answers that differ: fresh heads give the same everywhere
            for parameter in recognizer.model.parameters():
                if parameter.dim() == 4:
                    parameter.mul_(1.5)
        return recognizer

    return build


@pytest.fixture
def segmenter(tmp_path):

    def build(model=small.FCN, convention='torchvision', transforms=None, **kwargs):
        config = small.write_config(tmp_path / 'fcn.py', model, 'mmseg', convention, transforms, None)
        torch.manual_seed(3)
        return MMSegRecognizer(config, **{'pretrained': False, 'resize': None, **kwargs})

    return build


def photograph(seed=0, size=(HEIGHT, WIDTH)):
    """A smooth random image: uint8, BGR, as cv2 reads it."""
    rng = np.random.default_rng(seed)
    return cv2.resize(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8), size[::-1], interpolation=cv2.INTER_CUBIC)


def as_images(*pictures):
    """uint8 BGR to the contract's float RGB."""
    return torch.stack([torch.from_numpy(p[..., ::-1].copy()).permute(2, 0, 1).float() / 255 for p in pictures])


def labels(count=2, masks=False):
    """Two objects in the first image, none in the others."""
    boxes = torch.tensor([[8., 6, 40, 50], [30, 20, 90, 60]])
    items = [{'boxes': boxes, 'labels': torch.tensor([0, 2])}]
    items += [{'boxes': boxes[:0], 'labels': torch.zeros(0, dtype=torch.long)} for _ in range(count - 1)]
    if masks:
        for item in items:
            item['masks'] = torch.zeros(len(item['boxes']), HEIGHT, WIDTH, dtype=torch.bool)
        items[0]['masks'][0, 6:50, 8:40] = items[0]['masks'][1, 20:60, 30:90] = True
    return items


def native_mode(model):
    """The training mode of a model whose statistics are frozen, reached by hand."""
    model.train()
    for module in model.modules():
        if isinstance(module, (torch.nn.BatchNorm2d, torch.nn.Dropout, torch.nn.Dropout2d)):
            module.eval()


def native_sample(item, shape=(HEIGHT, WIDTH)):
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import BitmapMasks
    sample = DetDataSample(metainfo={'img_shape': shape, 'ori_shape': shape, 'scale_factor': (1.0, 1.0)})
    sample.gt_instances = InstanceData(bboxes=item['boxes'], labels=item['labels'])
    if 'masks' in item:
        sample.gt_instances.masks = BitmapMasks(item['masks'].numpy().astype(np.uint8), *shape)
    sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))
    return sample


def native_detector_loss(model, pictures, items):
    """The loss as mmdetection computes it from 8-bit images of its own loader; the seed is the recognizer's."""
    model = copy.deepcopy(model)
    native_mode(model)
    inputs = [torch.from_numpy(p).permute(2, 0, 1) for p in pictures]
    samples = [native_sample(item, p.shape[:2]) for item, p in zip(items, pictures, strict=True)]
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmdet'):
        data = model.data_preprocessor({'inputs': inputs, 'data_samples': samples}, True)
        losses = model.loss(data['inputs'], data['data_samples'])
        return model.parse_losses(losses)[0]


# ------------------------------------------------------------------- detection
@pytest.mark.parametrize('name', DETECTORS)
@pytest.mark.parametrize('convention', small.PREPROCESSORS)
def test_detector_loss_is_the_library_s_own(detector, name, convention):
    recognizer = detector(name, convention)
    pictures, items = [photograph(0), photograph(1)], labels(masks=name == 'mask_rcnn')
    ours = recognizer.loss(as_images(*pictures), items)
    assert all(term.dim() == 0 for term in ours.values())
    theirs = native_detector_loss(recognizer.model, pictures, items)
    assert theirs > 0
    torch.testing.assert_close(sum(ours.values()), theirs, rtol=1e-5, atol=1e-6)


def test_loss_in_inference_mode_would_be_another(detector):
    """What the loss mode is for: FCOS scales its boxes only in inference."""
    recognizer = detector('fcos')
    images, items = as_images(photograph()), labels(1)
    ours = sum(recognizer.loss(images, items).values())
    recognizer._loss_mode._unpinned = []
    assert abs(ours - sum(recognizer.loss(images, items).values())) > 1e-3


@pytest.mark.parametrize('name', DETECTORS)
def test_detector_stays_frozen_and_repeats(detector, name):
    recognizer = detector(name).train()
    images, items = as_images(photograph(0), photograph(1)), labels(masks=name == 'mask_rcnn')
    before = copy.deepcopy(recognizer.state_dict())
    losses, gradients = [], []
    for _ in range(2):
        x = images.clone().requires_grad_()
        loss = RecogLoss(recognizer)(x, items)
        loss.backward()
        losses.append(loss.item())
        gradients.append(x.grad)
        torch.rand(3), np.random.rand(3), random.random()
    assert losses[0] == losses[1] and torch.equal(*gradients)
    assert gradients[0].isfinite().all() and gradients[0].abs().max() > 0
    assert all(p.grad is None and not p.requires_grad for p in recognizer.model.parameters())
    assert all(torch.equal(value, before[key]) for key, value in recognizer.state_dict().items())
    assert not any(module.training for module in recognizer.model.modules())


def test_sampling_follows_the_seed_and_no_other_stream(detector):
    images, items = as_images(photograph(0), photograph(1)), labels()
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    recognizer = detector('faster_rcnn')
    torch.set_rng_state(states[0])
    first = sum(recognizer.loss(images, items).values())
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all() and random.getstate() == states[2]
    recognizer.seed = 1
    assert sum(recognizer.loss(images, items).values()) != first  # other proposals


def in_float64(model):
    """The model in double precision; its preprocessor would cast to float32."""
    model.double()
    own = model.data_preprocessor

    def normalize(data, training):
        images = [(image.flip(0) - own.mean.double()) / own.std.double() for image in data['inputs']]
        for sample in data['data_samples']:
            sample.set_metainfo({'pad_shape': (HEIGHT, WIDTH), 'batch_input_shape': (HEIGHT, WIDTH)})
        return {'inputs': torch.stack(images), 'data_samples': data['data_samples']}

    own.forward = normalize


@pytest.mark.parametrize('task', ['detection', 'segmentation'])
def test_gradient_is_the_slope(detector, segmenter, task):
    recognizer = detector('retinanet') if task == 'detection' else segmenter()
    label = labels(1) if task == 'detection' else torch.randint(3, (1, HEIGHT, WIDTH))
    in_float64(recognizer.model)
    image = as_images(photograph()).double().requires_grad_()
    gradient, = torch.autograd.grad(sum(recognizer.loss(image, label).values()), image)
    direction = gradient / gradient.norm()
    with torch.no_grad():
        ahead, behind = (sum(recognizer.loss(image + step * direction, label).values()) for step in (1e-6, -1e-6))
    assert (ahead - behind).item() / 2e-6 == pytest.approx(gradient.norm().item(), rel=1e-5)


PIPELINES = {
    'keep_ratio': [dict(type='Resize', scale=(120, 100), keep_ratio=True)],
    'stretch': [dict(type='Resize', scale=(128, 128), keep_ratio=False)],
    'padded': [dict(type='Resize', scale=(80, 80), keep_ratio=True),
               dict(type='Pad', pad_to_square=True, pad_val=dict(img=(114.0, 114.0, 114.0)))],
    'as it comes': [dict(type='Resize', scale_factor=1.0, keep_ratio=True)],
}


@pytest.mark.parametrize('transforms', PIPELINES.values(), ids=PIPELINES)
def test_detector_input_and_predictions_are_the_pipeline_s(detector, tmp_path, transforms):
    recognizer = detector('retinanet', 'caffe', transforms, resize='model')
    picture = photograph()
    cv2.imwrite(str(tmp_path / 'image.png'), picture)
    settings = openmmlab_model.read_config(tmp_path / 'retinanet.py', None, '')
    with DefaultScope.overwrite_default_scope('mmdet'), torch.no_grad():
        item = Compose(openmmlab_model.test_pipeline(settings))({
            'img_path': str(tmp_path / 'image.png'), 'img_id': 0, 'instances': []})
        data = recognizer.model.data_preprocessor(pseudo_collate([item]), False)
        theirs = recognizer.model.predict(data['inputs'], data['data_samples'])[0].pred_instances
    images = as_images(picture)
    prepared = recognizer.prepare(images)
    assert prepared.shape == data['inputs'].shape
    torch.testing.assert_close(prepared, data['inputs'], rtol=0, atol=1.0)  # OpenCV resizes in whole levels
    # OpenCV's rounding moves boxes that are equally likely; with its pixels the boxes have to be the same
    recognizer.model.data_preprocessor.forward = lambda fed, training: {**fed, 'inputs': data['inputs']}
    ours = recognizer.predict(images)[0]
    assert len(ours['boxes']) > 3
    order = theirs.scores.sort(descending=True, stable=True).indices
    assert torch.equal(ours['boxes'], theirs.bboxes[order]) and torch.equal(ours['labels'], theirs.labels[order])
    assert torch.equal(ours['scores'], theirs.scores[order])


def test_boxes_follow_the_resize(detector):
    """The same scene at twice the size, with the boxes where they belong, is the same loss."""
    picture = photograph()
    large = as_images(picture)
    recognizer = detector(resize=2)
    grown = torch.nn.functional.interpolate(large, scale_factor=2, mode='bilinear')
    double = [{**item, 'boxes': 2 * item['boxes']} for item in labels(1)]
    ours = sum(recognizer.loss(large, labels(1)).values())
    recognizer.geometry = type(recognizer.geometry)()
    torch.testing.assert_close(ours, sum(recognizer.loss(grown, double).values()))


def test_padded_batch_is_the_library_s_batch(detector):
    """Images of two sizes, padded by us, reach the model as when mmdetection pads them."""
    recognizer = detector('fcos', 'torchvision')
    pictures = [photograph(0), photograph(1, (48, 64))]
    items = [labels(1)[0], {'boxes': torch.tensor([[5., 5, 40, 40]]), 'labels': torch.tensor([1])}]
    theirs = native_detector_loss(recognizer.model, pictures, items)
    batch = torch.zeros(2, 3, HEIGHT, WIDTH)
    for i, picture in enumerate(pictures):
        items[i]['size'] = picture.shape[:2]
        batch[i, :, :picture.shape[0], :picture.shape[1]] = as_images(picture)[0]
    torch.testing.assert_close(sum(recognizer.loss(batch, items).values()), theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('name', DETECTORS)
def test_no_objects_at_all(detector, name):
    images = as_images(photograph()).requires_grad_()
    items = [{**labels()[1], 'masks': torch.zeros(0, HEIGHT, WIDTH, dtype=torch.bool)}]
    loss = RecogLoss(detector(name))(images, items)
    loss.backward()
    assert loss.isfinite() and images.grad.isfinite().all()


@pytest.mark.slow
@pytest.mark.parametrize('name', ['ddod_r50_fpn_1x_coco', 'retinanet_r50_fpn_ghm-1x_coco'])
def test_what_a_loss_counts_is_forgotten(name):
    """These two weigh an image by what they saw before."""
    recognizer = MMDetRecognizer(name, pretrained=False, resize=None)
    losses = [sum(recognizer.loss(as_images(photograph(seed)), labels(1)).values()) for seed in (0, 1, 0)]
    assert losses[0] == losses[2] != losses[1]


@pytest.mark.slow
def test_warm_up_is_over():
    """TOOD asks mmengine for the epoch, which nobody counts here."""
    from mmengine.logging import MessageHub
    recognizer = MMDetRecognizer('tood_r50_fpn_1x_coco', pretrained=False, resize=None)
    assert sum(recognizer.loss(as_images(photograph()), labels(1)).values()) > 0
    assert recognizer.model.bbox_head.epoch > recognizer.model.bbox_head.initial_epoch
    assert MessageHub.get_current_instance().get_info('epoch') is None


@pytest.mark.slow
def test_detector_that_takes_one_image_at_a_time(monkeypatch):
    recognizer = MMDetRecognizer('ga-retinanet_r50_fpn_1x_coco', pretrained=False, resize=None)
    images = as_images(photograph(0), photograph(1))
    both = recognizer.predict(images)
    assert len(both) == 2 and len(recognizer.predict(images[1:])[0]['boxes']) == len(both[1]['boxes'])


@pytest.mark.slow
def test_proposals_of_any_class_take_the_data_s_labels():
    recognizer = MMDetRecognizer('rpn_r50_fpn_1x_coco', pretrained=False, resize=None)
    assert recognizer.info.num_classes == 80
    assert sum(recognizer.loss(as_images(photograph()), labels(1)).values()) > 0


@pytest.mark.slow
@pytest.mark.parametrize('name, message', [
    ('crowddet-rcnn_r50_fpn_8xb2-30e_crowdhuman', 'gives 4 scores for 1 classes'),
    ('sparse-rcnn_r50_fpn_1x_coco', 'the answers of SparseRCNN cannot be compared'),
    ('deformable-detr-refine-twostage_r50_16xb2-50e_coco', 'selects its queries for each image'),
    ('solo_r18_fpn_8xb8-lsj-200e_coco', 'SOLO has no box head')])
def test_answers_that_cannot_be_compared_are_one_line(name, message):
    recognizer = MMDetRecognizer(name, pretrained=False, resize=None)
    with pytest.raises(ValueError, match=f'{message}.*Use RecogFeatureLoss'):
        recognizer.outputs(as_images(photograph()))


def test_boxes_without_area_and_ignored_boxes(detector):
    recognizer, images = detector(), as_images(photograph())
    plain = sum(recognizer.loss(images, labels(1)).values())
    item = labels(1)[0]
    flat = torch.tensor([[10., 10, 10, 40]])
    extended = {'boxes': torch.cat([item['boxes'], flat]), 'labels': torch.tensor([0, 2, 1])}
    assert sum(recognizer.loss(images, [extended]).values()) == plain
    crowd = torch.tensor([[0., 0, 96, 64]])
    ignored = {'boxes': torch.cat([item['boxes'], crowd]), 'labels': torch.tensor([0, 2, 1]),
               'ignore': torch.tensor([False, False, True])}
    as_object = {**ignored, 'ignore': torch.tensor([False] * 3)}
    assert sum(recognizer.loss(images, [ignored]).values()) == plain  # the assigner of this model leaves them aside
    assert sum(recognizer.loss(images, [as_object]).values()) != plain


# -------------------------------------------------------- detection, unsupervised
@pytest.mark.parametrize('name', DETECTORS)
@pytest.mark.parametrize('distance', ['probability', 'kl', 'l1', 'cosine'])
def test_unsupervised_detection(detector, name, distance):
    loss = RecogConsistencyLoss(detector(name), distance=distance)
    clean = as_images(photograph(0), photograph(1))
    restored = (clean + 0.1 * torch.rand_like(clean)).clamp(0, 1).requires_grad_()
    value = loss(restored, clean)
    value.backward()
    assert value > 0 and restored.grad.isfinite().all() and restored.grad.any()
    assert loss(clean, clean).item() == pytest.approx(0, abs=1e-6)
    assert RecogFeatureLoss(loss.recognizer)(restored, clean) > 0


def test_dense_outputs_are_the_head_s(detector):
    """Against the formula on the head's own maps: squared difference of the sigmoids; boxes by foreground and size."""
    recognizer = detector()
    clean, restored = as_images(photograph(0)), as_images(photograph(1))
    maps = {}
    for name, images in (('clean', clean), ('restored', restored)):
        with torch.no_grad():
            maps[name] = recognizer.model.bbox_head(recognizer.model.extract_feat(recognizer.prepare(images)))
    squares, weighted = [], []
    for level in range(4):
        scores, boxes = ([maps[name][kind][level][0].double() for name in ('restored', 'clean')] for kind in (0, 1))
        p, q = scores[0].sigmoid(), scores[1].sigmoid()
        squares.append((p - q).square().flatten())
        foreground = q.unflatten(0, (3, 3)).amax(1)[:, None]  # (anchors, classes): of any class
        ours, theirs = (box.unflatten(0, (3, 4)) for box in boxes)
        size = ((foreground * theirs.square()).sum() / (4 * foreground.sum())).sqrt()
        weighted.append(((ours - theirs) * foreground / size).square().flatten())
    expected = torch.cat(squares).mean() + torch.cat(weighted).mean()
    loss = RecogConsistencyLoss(recognizer, distance='probability')(restored, clean)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)


FAMILIES = [  # one of each family of heads that answers in a way of its own
    'yolov3_mobilenetv2_8xb24-320-300e_coco', 'yolox_tiny_8xb8-300e_coco', 'tood_r50_fpn_1x_coco',
    'centernet-update_r18_fpn_8xb8-amp-lsj-200e_coco', 'centernet_r18_8xb16-crop512-140e_coco',
    'gfl_r50_fpn_1x_coco', 'detr_r18_8xb2-500e_coco', 'cascade-rcnn_r50_fpn_1x_coco',
    'sabl-faster-rcnn_r50_fpn_1x_coco', 'sabl-retinanet_r50_fpn_1x_coco', 'condinst_r50_fpn_ms-poly-90k_coco_instance',
    'grid-rcnn_r50_fpn_gn-head_1x_coco']


@pytest.mark.slow
@pytest.mark.parametrize('name', FAMILIES)
def test_every_image_counts_in_every_family(name):
    recognizer = MMDetRecognizer(name, pretrained=False, resize=None)
    if hasattr(recognizer.model, 'rpn_head'):
        recognizer.model.rpn_head.test_cfg.max_per_img = 100  # of 1000 proposals, which its second stages would judge
    clean = torch.nn.functional.interpolate(as_images(photograph(0), photograph(1)), (96, 96))
    restored = (0.8 * clean).requires_grad_()
    loss = RecogConsistencyLoss(recognizer, reduction='none', distance='probability')
    values = loss(restored, clean)
    values.sum().backward()
    assert values.shape == (2,) and (values > 0).all()
    assert all(gradient.isfinite().all() and gradient.any() for gradient in restored.grad)
    assert loss(clean, clean).abs().max() < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize('name, low, high', [
    ('retinanet_r18_fpn_1x_coco', 0, 0.05), ('tood_r50_fpn_1x_coco', 0, 0.05), ('yolox_tiny_8xb8-300e_coco', 0, 0.05),
    ('centernet-update_r18_fpn_8xb8-amp-lsj-200e_coco', 0, 0.05), ('centernet_r18_8xb16-crop512-140e_coco', 0, 0.9)])
def test_foreground_is_a_probability_that_starts_small(name, low, high):
    """Heads begin with a bias for the background; a second sigmoid, or none, would show."""
    outputs = MMDetRecognizer(name, pretrained=False, resize=None).outputs(
        torch.nn.functional.interpolate(as_images(photograph()), (128, 128)))
    weights = torch.cat([level.flatten() for level in outputs['weights']])
    assert low < weights.min() and weights.mean() < high


def test_second_stage_answers_for_the_clean_image_s_proposals(detector, monkeypatch):
    recognizer = detector('faster_rcnn')
    clean, restored = as_images(photograph(0), photograph(1)), as_images(photograph(2), photograph(3))
    reference = recognizer.outputs(clean)
    count = reference['proposals'][0].shape[0]
    assert 1 < count <= 31 and all(len(boxes) == count for boxes in reference['proposals'])
    assert reference['logits'].shape == (2, 4, count)
    monkeypatch.setattr(recognizer.model.rpn_head, 'predict', None)  # would fail if it were called
    answers = recognizer.outputs(restored, reference)
    assert set(answers) == {'logits', 'regression'}
    p = reference['logits'].softmax(1)[:, :3].movedim(1, 2)
    assert torch.equal(reference['weights'][0], p)  # of each class's own box
    features = recognizer.model.extract_feat(recognizer.prepare(restored))
    rois = torch.cat([torch.cat([torch.full((count, 1), float(i)), boxes], 1)
                      for i, boxes in enumerate(reference['proposals'])])
    theirs = recognizer.model.roi_head._bbox_forward(features, rois)
    torch.testing.assert_close(answers['logits'].movedim(1, 2).flatten(0, 1), theirs['cls_score'])
    boxes = theirs['bbox_pred'].view(2, count, 3, 4) * p[..., None] / reference['sizes'][0]
    torch.testing.assert_close(answers['regression'], boxes.flatten(1))


# ---------------------------------------------------------------- segmentation
@pytest.mark.parametrize('convention', small.PREPROCESSORS)
def test_segmenter_loss_is_the_library_s_own(segmenter, convention):
    from mmseg.structures import SegDataSample
    recognizer = segmenter(convention=convention)
    pictures = [photograph(0, (50, 70)), photograph(1, (50, 70))]  # padded to 64 x 96
    label = torch.randint(3, (2, 50, 70))
    label[:, :10] = 255
    ours = recognizer.loss(as_images(*pictures), label)
    model = copy.deepcopy(recognizer.model)
    native_mode(model)
    samples = [SegDataSample(gt_sem_seg=PixelData(data=label[i:i + 1]), metainfo={'img_shape': (50, 70)})
               for i in range(2)]
    with DefaultScope.overwrite_default_scope('mmseg'):
        data = model.data_preprocessor({'inputs': [torch.from_numpy(p).permute(2, 0, 1) for p in pictures],
                                        'data_samples': samples}, True)
        losses = model.loss(data['inputs'], data['data_samples'])
    assert data['inputs'].shape[-2:] == (64, 96)
    torch.testing.assert_close(sum(ours.values()), losses['decode.loss_ce'] + losses['aux.loss_ce'])
    assert len(ours) == 2  # the accuracies among the library's terms are no losses
    ignored = recognizer.loss(as_images(*pictures), torch.full_like(label, 255))
    assert sum(ignored.values()).item() == 0


@pytest.mark.parametrize('transforms', PIPELINES.values(), ids=PIPELINES)
def test_segmenter_predictions_are_the_pipeline_s(segmenter, tmp_path, transforms):
    if any(step['type'] == 'Pad' for step in transforms):
        transforms = [dict(type='Resize', scale=(150, 64), keep_ratio=True)]
    recognizer = segmenter(transforms=transforms, resize='model')
    with torch.no_grad():
        recognizer.model.decode_head.conv_seg.weight.mul_(100)
    picture = photograph()
    cv2.imwrite(str(tmp_path / 'image.png'), picture)
    settings = openmmlab_model.read_config(tmp_path / 'fcn.py', None, '')
    with DefaultScope.overwrite_default_scope('mmseg'), torch.no_grad():
        item = Compose(openmmlab_model.test_pipeline(settings))({'img_path': str(tmp_path / 'image.png')})
        data = recognizer.model.data_preprocessor(pseudo_collate([item]), False)
        theirs = recognizer.model.predict(data['inputs'], data['data_samples'])[0].pred_sem_seg.data
    ours = recognizer.predict(as_images(picture))['masks']
    assert ours.shape == (1, HEIGHT, WIDTH) and len(ours.unique()) > 1
    assert (ours != theirs).float().mean() < 0.03  # OpenCV resizes in whole levels
    label = torch.randint(3, (1, HEIGHT, WIDTH))
    assert sum(recognizer.loss(as_images(picture), label).values()).isfinite()


def test_class_weights_and_the_ignored_label(segmenter):
    weights = [1.0, 2.0, 3.0]
    head = {**small.FCN['decode_head'], 'loss_decode': dict(type='CrossEntropyLoss', class_weight=weights)}
    recognizer = segmenter({**small.FCN, 'decode_head': head, 'auxiliary_head': None})
    label = torch.randint(3, (1, HEIGHT, WIDTH))
    label[:, :20] = 255
    images = as_images(photograph())
    loss, = recognizer.loss(images, label).values()
    logits = recognizer.outputs(images)['logits']
    assert loss.item() == pytest.approx(torch.nn.functional.cross_entropy(
        logits, label, torch.tensor(weights), ignore_index=255).item(), rel=1e-4)


def test_padding_of_the_pipeline_is_no_part_of_the_answer(segmenter, monkeypatch):
    recognizer = segmenter(transforms=[dict(type='Pad', size=(WIDTH, 2 * HEIGHT))], resize='model')

    def rows(inputs, metas):  # class 1 in the lower half of what the model is given, which is the padding
        logits = torch.zeros(len(inputs), 3, *inputs.shape[-2:])
        logits[:, 1, HEIGHT:] = 1
        return logits

    monkeypatch.setattr(recognizer.model, 'encode_decode', rows)
    masks = recognizer.predict(as_images(photograph()))['masks']
    assert masks.shape == (1, HEIGHT, WIDTH) and not masks.any()


def test_unsupervised_segmentation(segmenter):
    recognizer = segmenter()
    clean = as_images(photograph(0))
    restored = as_images(photograph(1)).requires_grad_()
    meta = {'img_shape': (HEIGHT, WIDTH)}
    with torch.no_grad():
        p, q = (recognizer.model.encode_decode(recognizer.prepare(x), [meta]).double().softmax(1)
                for x in (restored, clean))
    loss = RecogConsistencyLoss(recognizer, distance='probability')(restored, clean)
    assert loss.item() == pytest.approx((p - q).square().mean().item(), rel=1e-4)
    loss.backward()
    assert restored.grad.any()
    assert recognizer.features(clean).shape == (1, 64, 2, 3)
    odd = recognizer.outputs(clean[..., :50, :70])['logits']  # padded within, and cut back
    assert odd.shape == (1, 3, 50, 70)


def test_segmenter_of_one_class(segmenter):
    head = {**small.FCN['decode_head'], 'num_classes': 2, 'out_channels': 1, 'threshold': 0.5,
            'loss_decode': dict(type='CrossEntropyLoss', use_sigmoid=True)}
    recognizer = segmenter({**small.FCN, 'decode_head': head, 'auxiliary_head': None})
    images = as_images(photograph())
    outputs = recognizer.outputs(images)['logits']
    assert outputs.shape[1] == 2 and not outputs[:, 0].any()
    assert recognizer.predict(images)['masks'].max() <= 1
    assert sum(recognizer.loss(images, torch.ones(1, HEIGHT, WIDTH, dtype=torch.long)).values()) > 0


# ------------------------------------------------------ configs and checkpoints
def save(recognizer, path, classes):
    from mmengine.runner.checkpoint import save_checkpoint
    save_checkpoint({'state_dict': recognizer.model.state_dict(), 'meta': {'dataset_meta': {'classes': classes}}},
                    str(path))
    return str(path)


def test_checkpoint_of_mmengine(detector, tmp_path):
    first = detector()
    file = save(first, tmp_path / 'x.pth', small.CLASSES)
    torch.manual_seed(99)
    second = detector(pretrained=None, checkpoint=file, seed=0)
    with torch.no_grad():
        for parameter in second.model.parameters():
            if parameter.dim() == 4:
                parameter.div_(1.5)
    for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b)
    assert second.info.classes == small.CLASSES and second.info.num_classes == 3 and second.info.source == file
    assert second.info.mean == pytest.approx((0.485, 0.456, 0.406)) and second.info.task == 'detection'


@pytest.mark.slow
def test_checkpoint_that_does_not_fit(detector, tmp_path):
    file = save(detector('fcos'), tmp_path / 'x.pth', small.CLASSES)
    with pytest.raises(ValueError, match=r'x.pth does not fit the model: \d+ keys missing \(.*not of this model'):
        detector(pretrained=None, checkpoint=file)
    weights = detector().model.state_dict()
    weights = {**weights, **{f'ema_{key.replace(".", "_")}': value for key, value in weights.items()}}
    torch.save({'state_dict': weights, 'meta': {'CLASSES': small.CLASSES}}, tmp_path / 'old.pth')
    detector(pretrained=None, checkpoint=str(tmp_path / 'old.pth'))  # as trainings of version 2 left them
    torch.save({'state_dict': weights, 'meta': {'CLASSES': ('cat',)}}, tmp_path / 'old.pth')
    with pytest.raises(ValueError, match='old.pth was trained on other classes'):
        detector(pretrained=None, checkpoint=str(tmp_path / 'old.pth'))
    other = save(detector(), tmp_path / 'y.pth', ('cat', 'dog', 'fish'))
    with pytest.raises(ValueError, match="y.pth was trained on other classes .*'fish' where the config has 'bird'"):
        detector(pretrained=None, checkpoint=other)


@pytest.mark.slow
@pytest.mark.parametrize('recognizer, config, library', [
    (MMDetRecognizer, 'retinanet_r18_fpn_1x_coco', 'mmdet'),
    (MMSegRecognizer, 'fcn_hr18s_4xb2-40k_cityscapes-512x1024.py', 'mmseg')])
def test_config_by_name(recognizer, config, library):
    built = build_recognizer({'type': recognizer.__name__, 'config': config, 'pretrained': False})
    assert built.info.num_classes == len(built.info.classes) == {'mmdet': 80, 'mmseg': 19}[library]
    assert built.info.classes[0] == {'mmdet': 'person', 'mmseg': 'road'}[library]
    size = built.geometry.size(375, 500)
    assert size.resized == {'mmdet': (800, 1067), 'mmseg': (1024, 1365)}[library]


def test_cfg_options(detector):
    recognizer = detector(cfg_options={'model.test_cfg.max_per_img': 2})
    assert len(recognizer.predict(as_images(photograph()))[0]['boxes']) == 2
    with pytest.raises(ValueError, match="cfg_options: .*model.type.x.* do not fit retinanet.py"):
        detector(cfg_options={'model.type.x': 1})


@pytest.mark.parametrize('kwargs, message', [
    ({'config': 'retinanet_r18_fpn_1x_coko', 'pretrained': False}, "Did you mean 'retinanet_r18_fpn"),
    ({'config': 'retinanet_r18_fpn_1x_coco'}, 'no weights. Set checkpoint: FILE, or pretrained: true'),
    ({'config': 'retinanet_r18_fpn_1x_coco', 'pretrained': True, 'checkpoint': 'x'}, 'both pretrained and checkpoint'),
    ({'config': 'retinanet_r18_fpn_1x_coco', 'pretrained': False, 'resize': 0}, "expected 'model', a factor > 0 or ~"),
    ({'config': 'retinanet_r18_fpn_1x_coco', 'checkpoint': 'none.pth'}, 'no checkpoint none.pth'),
    ({'config': 'panoptic-fpn_r50_fpn_1x_coco', 'pretrained': False}, 'needs panoptic labels, not boxes alone'),
    ({'config': 'fast-rcnn_r50_fpn_1x_coco', 'pretrained': False}, 'needs proposals from elsewhere'),
    ({'config': 'htc_r50_fpn_1x_coco', 'pretrained': False}, 'needs semantic segmentation labels'),
    ({'config': 'qdtrack_faster-rcnn_r50_fpn_8xb2-4e_mot17halftrain_test-mot17halfval', 'pretrained': False}, 'videos'),
    ({'config': 'rtmdet_tta', 'pretrained': False}, "'model' with a 'type' is missing"),
])
def test_bad_detector_options(kwargs, message):
    with pytest.raises((ValueError, FileNotFoundError), match=re.escape(message)) as error:
        MMDetRecognizer(**kwargs)
    assert '\n' not in str(error.value) and 'MMDetRecognizer(' in str(error.value)


def test_config_of_the_other_library(tmp_path):
    detector = small.write_config(tmp_path / 'det.py', small.RETINANET, 'mmdet')
    segmenter = small.write_config(tmp_path / 'seg.py', small.FCN, 'mmseg')
    for cls, config in ((MMSegRecognizer, detector), (MMDetRecognizer, segmenter)):
        with pytest.raises(TaskError, match='Is it a config of'):
            cls(config, pretrained=False)
    with pytest.raises(TaskError, match='maps of the edges'):
        MMSegRecognizer('pidnet-s_2xb6-120k_1024x1024-cityscapes', pretrained=False)
    (tmp_path / 'broken.py').write_text('model = (')
    with pytest.raises(ValueError, match='broken.py is no config that mmengine can read'):
        MMDetRecognizer(str(tmp_path / 'broken.py'), pretrained=False)
    with pytest.raises(ValueError, match='names 2 classes, its head has 3'):
        MMDetRecognizer(small.write_config(tmp_path / 'two.py', small.RETINANET, 'mmdet', classes=('a', 'b')),
                        pretrained=False)


@pytest.mark.parametrize('item, message', [
    ({'boxes': torch.zeros(1, 4), 'labels': torch.tensor([3])}, r'image 0: expected labels in 0..2, got 3..3'),
    ({'boxes': torch.zeros(1, 4), 'labels': torch.tensor([0, 1])}, r'expected boxes \(K, 4\) and labels'),
    ({'boxes': torch.zeros(1, 4)}, r'expected a list of .* one an image'),
])
def test_bad_detection_labels(detector, item, message):
    recognizer = detector()
    with pytest.raises(ValueError, match=message):
        recognizer.loss(as_images(photograph()), [item])
    with pytest.raises(ValueError, match='expected labels of 1 image, got 2'):
        recognizer.loss(as_images(photograph()), labels(2))


def test_only_what_may_be_about_the_size_is_said_to_be(detector, monkeypatch):
    recognizer = detector()
    for text, raised in (('CUDA error: an illegal memory access was encountered', RuntimeError),
                         ('There is no valid anchor inside the image boundary', ValueError)):
        def fail(*args, text=text):
            raise (RuntimeError if 'CUDA' in text else ValueError)(text)

        monkeypatch.setattr(recognizer.model, 'loss', fail)
        with pytest.raises(raised) as error:
            recognizer.loss(as_images(photograph()), labels(1))
        assert str(error.value).startswith('MMDetRecognizer(retinanet): cannot take') == (raised is ValueError)


@pytest.mark.slow
def test_prediction_in_inference_mode_leaves_the_loss_usable(detector):
    recognizer, images = MMDetRecognizer('gfl_r50_fpn_1x_coco', pretrained=False, resize=None), as_images(photograph())
    with torch.inference_mode():
        recognizer.predict(images)
    RecogLoss(recognizer)(images.requires_grad_(), labels(1)).backward()
    assert images.grad.any()


def test_ignore_and_masks_of_another_length(detector):
    item = {**labels(1)[0], 'ignore': torch.zeros(3, dtype=torch.bool)}
    with pytest.raises(ValueError, match="image 0: expected 'ignore' of 2 boxes"):
        detector().loss(as_images(photograph()), [item])
    item = {**labels(1)[0], 'masks': torch.zeros(2, 8, 8, dtype=torch.bool)}
    with pytest.raises(ValueError, match=r'expected masks of the size of the image, \(64, 96\), got \(8, 8\)'):
        detector('mask_rcnn').loss(as_images(photograph()), [item])


def test_masks_are_asked_for(detector):
    with pytest.raises(ValueError, match='its loss needs masks.*with_masks: true'):
        detector('mask_rcnn').loss(as_images(photograph()), labels(1))


def test_bad_segmentation_labels(segmenter):
    recognizer, images = segmenter(), as_images(photograph())
    with pytest.raises(ValueError, match=r'expected labels in 0..2, or 255 \(ignored\), got 0..7'):
        recognizer.loss(images, torch.tensor([0, 7]).repeat(1, HEIGHT, WIDTH // 2))
    with pytest.raises(ValueError, match=r'expected labels of the size of the images, \(64, 96\), got \(32, 96\)'):
        recognizer.loss(images, torch.zeros(1, 32, 96, dtype=torch.long))
    with pytest.raises(ValueError, match='expected label maps'):
        recognizer.loss(images, torch.zeros(1, HEIGHT, WIDTH))


@pytest.mark.slow
def test_image_that_is_too_small():
    recognizer = MMDetRecognizer('ssd300_coco', pretrained=False, resize=None)
    with pytest.raises(ValueError, match='cannot take 1 image of 40x40 .* larger images'):
        recognizer.predict(torch.rand(1, 3, 40, 40))


def test_layer_of_a_missing_operator(tmp_path, monkeypatch):
    import mmcv._ext
    monkeypatch.setattr(mmcv._ext, 'missing_modules', frozenset({'torch.nn.modules.pooling'}), raising=False)
    config = small.write_config(tmp_path / 'a.py', small.RETINANET, 'mmdet')
    with pytest.raises(ValueError, match='a.py needs MaxPool2d of the compiled mmcv'):
        MMDetRecognizer(config, pretrained=False)


def test_published_weights(tmp_path, monkeypatch, detector):
    path = openmmlab_model.find_config('faster-rcnn_r50_fpn_1x_coco', 'mmdet', '')
    assert Path(openmmlab_model.published_weights(path, 'mmdet', '')).name.startswith('faster_rcnn_r50_fpn_1x_coco')
    with pytest.raises(ValueError, match='mmdet names no weights for retinanet.py'):
        detector(pretrained=True)
    # the download itself, from a file
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    file = save(detector(), tmp_path / 'weights.pth', small.CLASSES)
    import hashlib
    good = tmp_path / f'w-{hashlib.sha256(Path(file).read_bytes()).hexdigest()[:8]}.pth'
    bad = tmp_path / 'w-00000000.pth'
    for copied in (good, bad):
        copied.write_bytes(Path(file).read_bytes())
    assert Path(openmmlab_model.download(good.as_uri())).read_bytes() == good.read_bytes()
    with pytest.raises(RuntimeError, match='invalid hash'):
        openmmlab_model.download(bad.as_uri())
    assert not (tmp_path / 'hub' / 'checkpoints' / bad.name).exists()


@pytest.mark.slow
def test_needs_masks_where_a_head_does_not_say_so():
    built = MMDetRecognizer('rtmdet-ins_tiny_8xb32-300e_coco', pretrained=False, resize=None)
    assert mmdet_recognizer._needs_masks(built.model)
    assert not mmdet_recognizer._needs_masks(MMDetRecognizer('rtmdet_tiny_8xb32-300e_coco', pretrained=False).model)


def test_what_a_config_would_download_is_left_out():
    model = {'pretrained': 'torchvision://resnet50', 'depth': 50, 'backbone': {
        'init_cfg': {'type': 'Pretrained', 'checkpoint': 'a.pth'}, 'stem': {'init_cfg': {'checkpoint': 'pvt.pth'}}},
        'heads': [{'init_cfg': [{'type': 'Normal', 'std': 0.01}, {'type': 'Pretrained', 'checkpoint': 'b.pth'}]},
                  {'init_cfg': {'type': 'Normal'}, 'pretrained': True}]}
    openmmlab_model.without_downloads(model)
    assert model == {'pretrained': None, 'depth': 50, 'backbone': {'init_cfg': None, 'stem': {'init_cfg': None}},
                     'heads': [{'init_cfg': [{'type': 'Normal', 'std': 0.01}]},
                               {'init_cfg': {'type': 'Normal'}, 'pretrained': False}]}


def test_a_package_that_a_config_imports_is_named(tmp_path):
    path = tmp_path / 'poolformer.py'
    path.write_text("custom_imports = dict(imports=['no_such_zoo.models'], allow_failed_imports=False)\n"
                    "model = dict(type='RetinaNet')\n")
    with pytest.raises(ImportError, match=r'poolformer.py needs no_such_zoo, which is not installed\.'):
        openmmlab_model.read_config(path, None, 'MMDetRecognizer')
