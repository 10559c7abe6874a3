"""The divergence between a detector's answers on two images, against its definition in float64, place by place."""
import mm_configs as small
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ra_plugin.losses import RecogConsistencyLoss, RecogLoss
from ra_plugin.recognizers import MMDetRecognizer, MMSegRecognizer

pytestmark = pytest.mark.mm

MODELS = {'retinanet': small.RETINANET, 'fcos': small.FCOS, 'faster_rcnn': small.FASTER_RCNN}
_STAGE = small.FASTER_RCNN['roi_head']['bbox_head']
CASCADE = {**small.FASTER_RCNN, 'type': 'CascadeRCNN', 'roi_head': {
    **small.FASTER_RCNN['roi_head'], 'type': 'CascadeRoIHead', 'num_stages': 2, 'stage_loss_weights': [1, 0.5],
    'bbox_head': [_STAGE, _STAGE]},
    'train_cfg': {**small.FASTER_RCNN['train_cfg'], 'rcnn': [small.FASTER_RCNN['train_cfg']['rcnn']] * 2}}
AGNOSTIC = {**small.FASTER_RCNN, 'roi_head': {**small.FASTER_RCNN['roi_head'],
                                              'bbox_head': {**_STAGE, 'reg_class_agnostic': True}}}
TWO_STAGES = {'faster_rcnn': small.FASTER_RCNN, 'cascade_rcnn': CASCADE, 'agnostic': AGNOSTIC}


@pytest.fixture
def detector(tmp_path):
    """``detector(name, num_classes=3)``: small, with answers that differ from place to place."""

    def build(name, num_classes=3, gain=1.5):
        torch.manual_seed(3)
        if name == 'yolox':
            recognizer = MMDetRecognizer('yolox_tiny_8xb8-300e_coco', pretrained=False, resize=None)
        else:
            model = {**MODELS, **TWO_STAGES}[name]
            if name not in TWO_STAGES:
                model = {**model}
                model['bbox_head'] = {**model['bbox_head'], 'num_classes': num_classes}
            classes = [f'class {i}' for i in range(num_classes)]
            config = small.write_config(tmp_path / f'{name}.py', model, 'mmdet', classes=classes)
            recognizer = MMDetRecognizer(config, pretrained=False, resize=None)
        with torch.no_grad():
            for parameter in recognizer.model.parameters():
                if parameter.dim() == 4:
                    parameter.mul_(gain)
        return recognizer

    return build


@pytest.fixture
def pair():
    """A restored and a clean image."""
    clean = F.interpolate(torch.rand(2, 3, 8, 8), (64, 96), mode='bicubic').clamp(0, 1)
    return (clean + 0.3 * torch.rand_like(clean)).clamp(0, 1), clean


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def dense_answers(recognizer, images):
    """For each level of each image: probabilities (C, A * places), numbers of boxes (4, A * places) and others.

    Places are cells of the maps that begin within the image; the others are padding.
    """
    model, found = recognizer.model, []
    with torch.no_grad():
        inputs = recognizer.prepare(images)
        maps = model.bbox_head(model.extract_feat(inputs))
    height, width = images.shape[-2:]
    maps = [[level[:, :, np.arange(0, inputs.shape[2], inputs.shape[2] // level.shape[2]) < height][
        ..., np.arange(0, inputs.shape[3], inputs.shape[3] // level.shape[3]) < width].double().numpy()
        for level in kind] for kind in maps]
    for i in range(len(images)):
        levels = []
        for parts in zip(*maps, strict=True):
            count, places = recognizer.info.num_classes, parts[0][i][0].size
            scores = sigmoid(parts[0][i].reshape(-1, count, places)).swapaxes(0, 1).reshape(count, -1)
            boxes = parts[1][i].reshape(-1, 4, places).swapaxes(0, 1).reshape(4, -1)
            others = [parts[2][i].reshape(1, -1)] if len(parts) == 3 else []
            if type(model).__name__ == 'YOLOX':
                scores, others = scores * sigmoid(others[0]), []
            levels.append((scores, [boxes, *others]))
        found.append(levels)
    return found


def dense_definition(restored, clean, temperature):
    """One image: T^2 sum_c KL of each class's decision, weighted over the places; and the numbers beside it."""
    numerator = count = squares = numbers = 0.0
    for (p, ours), (q, theirs) in zip(restored, clean, strict=True):
        foreground = q.max(0)
        soft_p, soft_q = (sigmoid(np.log(x / (1 - x)) / temperature) for x in (p, q))
        divergence = (soft_q * np.log(soft_q / soft_p) + (1 - soft_q) * np.log((1 - soft_q) / (1 - soft_p))).sum(0)
        numerator += (foreground ** 2 * divergence).sum()
        count += (foreground ** 2).sum()
        for a, b in zip(ours, theirs, strict=True):
            size = np.sqrt((foreground * b ** 2).sum() / (len(b) * foreground.sum()))
            squares += (foreground ** 2 * ((a - b) / size) ** 2).sum()
        numbers = sum(len(b) for b in theirs)
    return temperature ** 2 * numerator / count + squares / (numbers * max(count, 1))


@pytest.mark.parametrize('temperature', [1.0, 2.0])
@pytest.mark.parametrize('name', ['retinanet', 'fcos', 'yolox'])
def test_divergence_of_sigmoid_heads_is_its_definition(detector, pair, name, temperature):
    recognizer = detector(name)
    restored, clean = (dense_answers(recognizer, images) for images in pair)
    expected = [dense_definition(ours, theirs, temperature) for ours, theirs in zip(restored, clean, strict=True)]
    loss = RecogConsistencyLoss(recognizer, temperature=temperature, reduction='none')
    np.testing.assert_allclose(loss(*pair).numpy(), expected, rtol=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize('name', ['retinanet', 'fcos', 'yolox'])
def test_divergence_of_images_of_unequal_sizes_is_that_of_each_alone(detector, pair, name):
    """In float64: padding of the batch, which holds noise here, is no part of an image, and padding to 32 no place."""
    recognizer, sizes = detector(name).double(), [(64, 96), (40, 72)]
    # mmdet's preprocessor gives float32 where a model has no mean and std
    recognizer.model.backbone.register_forward_pre_hook(lambda module, inputs: (inputs[0].double(),))
    images = [image.double() for image in pair]
    expected = []
    for i, (height, width) in enumerate(sizes):
        alone = [image[i:i + 1, :, :height, :width] for image in images]
        (ours,), (theirs,) = (dense_answers(recognizer, image) for image in alone)
        expected.append(dense_definition(ours, theirs, 2.0))
    value = RecogConsistencyLoss(recognizer, reduction='none')(*images, sizes=sizes)
    np.testing.assert_allclose(value.numpy(), expected, rtol=1e-5)
    total = RecogConsistencyLoss(recognizer, reduction='sum')(*images, sizes=sizes)
    assert total.item() == pytest.approx(sum(expected), rel=1e-5)
    assert abs(RecogConsistencyLoss(recognizer, reduction='none')(*images)[1].item() / expected[1] - 1) > 1e-3


@pytest.mark.parametrize('temperature', [1.0, 2.0])
def test_divergence_of_a_second_stage_is_its_definition(detector, pair, temperature):
    recognizer = detector('faster_rcnn')
    restored, clean = (images[:1] for images in pair)
    reference = recognizer.outputs(clean)
    boxes = reference['proposals'][0]
    rois = torch.cat([torch.zeros(len(boxes), 1), boxes], 1)
    with torch.no_grad():
        found = [recognizer.model.roi_head._bbox_forward(recognizer.model.extract_feat(recognizer.prepare(x)), rois)
                 for x in (restored, clean)]
    (z, ours), (y, theirs) = ((answer['cls_score'].double().numpy(), answer['bbox_pred'].double().numpy())
                              for answer in found)

    def softmax(logits):
        e = np.exp(logits - logits.max(1, keepdims=True))
        return e / e.sum(1, keepdims=True)

    p, q = softmax(z / temperature), softmax(y / temperature)
    objects = softmax(y)[:, :3]
    weights = objects.sum(1) ** 2
    divergence = (weights * (q * np.log(q / p)).sum(1)).sum() / weights.sum()
    ours, theirs, each = ours.reshape(-1, 3, 4), theirs.reshape(-1, 3, 4), objects[:, :, None]
    size = np.sqrt((each * theirs ** 2).sum() / (4 * each.sum()))
    squares = (each ** 2 * ((ours - theirs) / size) ** 2).sum()
    expected = temperature ** 2 * divergence + squares / (4 * (each ** 2).sum() * max(1, 1 / weights.sum()))
    value = RecogConsistencyLoss(recognizer, temperature=temperature)(restored, clean)
    assert value.item() == pytest.approx(expected, rel=2e-3)


@pytest.mark.parametrize('name', ['retinanet', 'faster_rcnn'])
def test_the_divergence_of_fresh_heads_is_that_of_the_usual_mean_over_the_places(detector, pair, name):
    """All places are then alike, in both families of heads: the ratio to that mean is 1, with many classes too."""
    recognizer = detector(name, **({'num_classes': 40} if name == 'retinanet' else {}), gain=1.0)
    reference = recognizer.outputs(pair[1])
    weights = reference['logits_weights']
    decisions = 40 if name == 'retinanet' else 1
    torch.testing.assert_close(weights.sum(1), torch.full((2,), float(decisions)))
    logits = recognizer.outputs(pair[0], reference)['logits'].double()
    q, p = (value.softmax(1) for value in (reference['logits'].double(), logits))
    mean = decisions * (q * (q / p).log()).sum(1).mean(1)
    weighted = (weights * (q * (q / p).log()).sum(1)).sum(1)
    assert (weighted / mean - 1).abs().max() < 0.25


def test_the_divergence_does_not_shrink_with_the_number_of_background_places(detector, pair):
    """An object in a corner counts as much in an image with four times the background."""
    recognizer = detector('retinanet')
    seen = []
    for places in (100, 400):
        z = torch.full((1, 3, places), -6.0)
        z[0, 1, :4] = 3.0
        moved = z.clone()
        moved[0, 1, :4] = 0.0

        def answer(images, z=z, moved=moved, places=places):
            level = (moved if images.requires_grad else z) + 0 * images.mean()
            return [level[..., None]], [torch.zeros(1, 4, places, 1)]

        recognizer.model.extract_feat = lambda inputs: inputs
        recognizer.model.bbox_head.forward = answer
        seen.append(RecogConsistencyLoss(recognizer, temperature=1.0)(pair[0][:1].requires_grad_(), pair[1][:1]).item())
    p, q = sigmoid(0.0), sigmoid(3.0)
    assert seen[0] == pytest.approx(q * np.log(q / p) + (1 - q) * np.log((1 - q) / (1 - p)), rel=1e-3)
    assert seen[1] == pytest.approx(seen[0], rel=1e-3)


@pytest.mark.parametrize('name', MODELS)
def test_an_image_without_objects_has_a_finite_loss_and_its_boxes_do_not_count(detector, pair, name):
    recognizer = detector(name, gain=1.0)
    head = recognizer.model.roi_head.bbox_head.fc_cls if name == 'faster_rcnn' else (
        recognizer.model.bbox_head.retina_cls if name == 'retinanet' else recognizer.model.bbox_head.conv_cls)
    with torch.no_grad():
        head.bias.fill_(-30)
        if name == 'faster_rcnn':
            head.bias[-1] = 30
    restored = pair[0].requires_grad_()
    loss = RecogConsistencyLoss(recognizer)(restored, pair[1])
    loss.backward()
    assert loss.isfinite() and restored.grad.isfinite().all() and 0 <= loss < 1e-6


@pytest.mark.parametrize('distance', ['kl', 'probability', 'l1', 'cosine'])
def test_every_distance_holds_for_boxes_too(detector, pair, distance):
    """Kl and probability: squares; l1: absolute differences; cosine: one minus the cosine. All of scores and boxes."""
    recognizer = detector('retinanet')
    reference = recognizer.outputs(pair[1])
    answers = recognizer.outputs(pair[0], reference)
    ours, theirs = answers['regression'].double(), reference['regression'].double()
    of_boxes = {'l1': (ours - theirs).abs().mean(1), 'cosine': 1 - F.cosine_similarity(ours, theirs),
                'probability': (ours - theirs).square().mean(1),
                'kl': ((ours - theirs).square() * reference['regression_weights']).sum(1)}[distance]
    loss = RecogConsistencyLoss(recognizer, distance=distance, reduction='none')
    both = loss(*pair)
    full = recognizer.outputs
    recognizer.outputs = lambda *args: {k: v for k, v in full(*args).items() if k != 'regression'}
    torch.testing.assert_close(both.double() - loss(*pair).double(), of_boxes, rtol=1e-3, atol=1e-6)
    assert (of_boxes > 0).all()


def test_every_pixel_of_an_image_counts_alike_in_a_segmenter(tmp_path, pair):
    config = small.write_config(tmp_path / 'fcn.py', small.FCN, 'mmseg',
                                resize=[dict(type='Pad', size=(128, 96))])  # the right quarter is padding
    recognizer = MMSegRecognizer(config, pretrained=False)
    p, q = (recognizer.outputs(images)['logits'].double().log_softmax(1) for images in pair)
    assert p.shape == (2, 3, 64, 96)
    expected = (q.exp() * (q - p)).sum(1).mean((1, 2))
    value = RecogConsistencyLoss(recognizer, temperature=1.0, reduction='none')(*pair)
    torch.testing.assert_close(value.double(), expected, rtol=1e-3, atol=1e-9)


def test_the_sum_is_that_of_as_many_images(detector, tmp_path, pair):
    boxes = torch.tensor([[8., 6, 40, 50]])
    items = [{'boxes': boxes, 'labels': torch.tensor([1])}, {'boxes': boxes[:0], 'labels': torch.zeros(0).long()}]
    segmenter = MMSegRecognizer(small.write_config(tmp_path / 'fcn.py', small.FCN, 'mmseg'), pretrained=False)
    for recognizer, label in ((detector('retinanet'), items), (detector('faster_rcnn'), items),
                              (segmenter, torch.randint(3, (2, 64, 96)))):
        images = pair[0].clone().requires_grad_()
        mean, total = (RecogLoss(recognizer, reduction=reduction, loss_weight=0.5)(images, label)
                       for reduction in ('mean', 'sum'))
        assert total.item() == 2 * mean.item() > 0
        gradients = [torch.autograd.grad(value, images)[0] for value in (mean, total)]
        torch.testing.assert_close(gradients[1], 2 * gradients[0])
        if isinstance(label, torch.Tensor):
            sizes = [(64, 96), (48, 80)]
            mean, total = (RecogLoss(recognizer, reduction=reduction)(images, label, sizes=sizes)
                           for reduction in ('mean', 'sum'))
            torch.testing.assert_close(total, 2 * mean)


@pytest.mark.parametrize('name, distance, reduction', [
    *((name, distance, 'mean') for name in TWO_STAGES for distance in ('kl', 'probability', 'l1', 'cosine')),
    ('faster_rcnn', 'kl', 'none'), ('faster_rcnn', 'kl', 'sum')])
def test_the_mates_of_an_image_in_its_batch_change_nothing(detector, name, distance, reduction):
    """Each image has as many proposals as alone: the flat one few, the others many."""
    recognizer = detector(name).double()
    recognizer.model.test_cfg.rpn.max_per_img = recognizer.model.rpn_head.test_cfg.max_per_img = 200
    recognizer.model.rpn_head.test_cfg.nms.iou_threshold = 0.4
    clean = torch.rand(3, 3, 64, 96).double()
    clean[1] = 0.5
    clean[2, :, :, 48:] = 0.2
    restored = (clean + 0.2 * torch.rand_like(clean)).clamp(0, 1).requires_grad_()
    assert len({len(found) for found in recognizer.outputs(clean)['proposals']}) == 3
    loss = RecogConsistencyLoss(recognizer, distance=distance, reduction=reduction)
    value = loss(restored, clean)
    gradient, = torch.autograd.grad(value.sum(), restored)
    alone = [loss(restored[i:i + 1], clean[i:i + 1]).sum() for i in range(3)]
    of_each = [torch.autograd.grad(one, restored)[0] for one in alone]
    share = 1 / 3 if reduction == 'mean' else 1
    found = torch.stack(alone)
    torch.testing.assert_close(value, found if reduction == 'none' else share * found.sum(), rtol=1e-9, atol=0)
    torch.testing.assert_close(gradient, share * sum(of_each), rtol=1e-6, atol=1e-9 * gradient.abs().max().item())
