"""On padded batches of several sizes, every loss is the mean of the losses of single images."""
import mm_configs as small
import pytest
import torch
import torch.nn.functional as F
from tiny_recognizers import TinyReader

from ra_plugin.losses import RecogConsistencyLoss, RecogFeatureLoss, RecogLoss
from ra_plugin.recognizers import CTCRecognizer, EnsembleRecognizer, MMDetRecognizer, MMSegRecognizer

SIZES = [(40, 64), (64, 48), (40, 64)]  # height, width; the batch is 64x64
LOSSES = {'recog': RecogLoss, 'consistency': RecogConsistencyLoss, 'feature': RecogFeatureLoss}
KEEP_RATIO = [dict(type='Resize', scale=(96, 80), keep_ratio=True)]
SQUARE = [dict(type='Resize', scale=(64, 64), keep_ratio=True),
          dict(type='Pad', pad_to_square=True, pad_val=dict(img=(114.0, 114.0, 114.0)))]


@pytest.fixture(scope='module')
def build(tmp_path_factory):
    """Return ``build(name)`` for recognizers whose input size depends on that of the image."""
    root, built = tmp_path_factory.mktemp('recognizers'), {}

    def make(name):
        torch.manual_seed(3)
        if name == 'fcn':
            config = small.write_config(root / 'fcn.py', small.FCN, 'mmseg', resize=KEEP_RATIO)
            return MMSegRecognizer(config, pretrained=False)
        if name == 'yolov3':
            return MMDetRecognizer('yolov3_mobilenetv2_8xb24-320-300e_coco', pretrained=False)
        model = {'retinanet': small.RETINANET, 'fcos': small.FCOS, 'faster_rcnn': small.FASTER_RCNN}[name]
        pipeline = SQUARE if name == 'fcos' else KEEP_RATIO
        config = small.write_config(root / f'{name}.py', model, 'mmdet', resize=pipeline)
        return MMDetRecognizer(config, pretrained=False)

    return lambda name: built.setdefault(name, make(name))


def padded(pictures, value=0.0):
    return torch.stack([F.pad(image, (0, 64 - image.shape[2], 0, 64 - image.shape[1]), value=value)
                        for image in pictures])


@pytest.fixture
def pictures():
    """Return restored and clean images of the sizes above."""
    clean = [F.interpolate(torch.rand(1, 3, 6, 6), size, mode='bilinear')[0] for size in SIZES]
    return [(image + 0.2 * torch.rand_like(image)).clamp(0, 1) for image in clean], clean


def labels_of(task):
    if task == 'classification':
        return torch.tensor([1, 0, 2])
    if task == 'segmentation':
        maps = [torch.randint(3, (1, *size)) for size in SIZES]
        return padded(maps, 255)[:, 0]
    boxes = torch.tensor([[4., 6, 30, 34], [10, 2, 44, 20]])
    return [{'boxes': boxes[:count], 'labels': torch.arange(count), 'size': size}
            for count, size in zip((2, 1, 0), SIZES, strict=True)]


def label_of(label, i, size):
    if not isinstance(label, torch.Tensor):
        return [{key: value for key, value in label[i].items() if key != 'size'}]
    return label[i:i + 1, :size[0], :size[1]] if label.dim() == 3 else label[i:i + 1]


def check(loss, output, clean, label):
    """Assert that loss and gradients of the padded batch equal those of single images."""
    restored = padded(output).requires_grad_()
    value = loss(restored, label if loss.needs == 'label' else padded(clean, 0.5), sizes=SIZES)
    value.backward()
    alone = []
    for i, (image, gt, size) in enumerate(zip(output, clean, SIZES, strict=True)):
        image = image[None].clone().requires_grad_()
        alone.append(loss(image, label_of(label, i, size) if loss.needs == 'label' else gt[None]))
        gradient, = torch.autograd.grad(alone[-1] / len(SIZES), image)
        found = restored.grad[i, :, :size[0], :size[1]]
        assert (found - gradient[0]).abs().max() <= 2e-3 * gradient.abs().max().clamp_min(1e-9)
        outside = restored.grad[i].clone()
        outside[:, :size[0], :size[1]] = 0
        assert not outside.any()
    return value, torch.stack(alone).mean()


CASES = [(name, loss) for name in ('retinanet', 'fcos', 'fcn') for loss in LOSSES]
CASES += [('yolov3', 'consistency'), ('yolov3', 'feature')]


@pytest.mark.slow
@pytest.mark.parametrize('name, kind', CASES)
def test_padded_images_of_openmmlab_recognizers_count_as_alone(build, pictures, name, kind):
    recognizer = build(name)
    if (name, kind) in (('retinanet', 'recog'), ('fcos', 'recog')):  # one image of a size: the loss of a batch counts
        images, label = [part[:2] for part in pictures], labels_of('detection')[:2]
        value = RecogLoss(recognizer)(padded(images[0]), label, sizes=SIZES[:2])
        alone = [RecogLoss(recognizer)(image[None], label_of(label, i, SIZES[i])) for i, image in enumerate(images[0])]
        torch.testing.assert_close(value, sum(alone) / 2, rtol=1e-5, atol=1e-6)
        return
    value, expected = check(LOSSES[kind](recognizer), *pictures, labels_of(recognizer.info.task))
    torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.slow
def test_padded_images_of_a_two_stage_detector_have_the_training_loss_of_each_alone(build, pictures):
    """One image of a size: the detector's own loss is that of a batch."""
    loss, label = RecogLoss(build('faster_rcnn')), labels_of('detection')[:2]
    value = loss(padded(pictures[0][:2]), label, sizes=SIZES[:2])
    alone = [loss(image[None], label_of(label, i, SIZES[i])) for i, image in enumerate(pictures[0][:2])]
    torch.testing.assert_close(value, sum(alone) / 2, rtol=1e-4, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['consistency', 'feature'])
def test_padded_images_of_a_two_stage_detector_count_as_alone(build, pictures, kind):
    value, expected = check(LOSSES[kind](build('faster_rcnn')), *pictures, labels_of('detection'))
    torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize('fit', ['crop', 'stretch'])
@pytest.mark.parametrize('kind', LOSSES)
def test_padded_images_of_a_classifier_count_as_alone(tiny_recognizer, pictures, kind, fit):
    recognizer = tiny_recognizer(input_size=24, fit=fit)
    output, clean = ([image.double() for image in part] for part in pictures)
    value, expected = check(LOSSES[kind](recognizer), output, clean, labels_of('classification'))
    torch.testing.assert_close(value, expected)


@pytest.mark.parametrize('reduction', ['none', 'sum'])
def test_values_come_in_the_order_of_the_images(tiny_recognizer, pictures, reduction):
    recognizer = tiny_recognizer()
    output, clean = ([image.double() for image in part] for part in pictures)
    loss = RecogConsistencyLoss(recognizer, reduction=reduction)
    alone = torch.cat([RecogConsistencyLoss(recognizer, reduction='none')(image[None], gt[None])
                       for image, gt in zip(output, clean, strict=True)])
    value = loss(padded(output), padded(clean), sizes=torch.tensor(SIZES))
    torch.testing.assert_close(value, alone if reduction == 'none' else alone.sum())


def test_an_ensemble_and_the_cache_see_no_padding_either(tiny_recognizer, pictures):
    ensemble = EnsembleRecognizer([tiny_recognizer(seed=seed) for seed in (0, 1)], weights=[1, 3])
    output, clean = ([image.double() for image in part] for part in pictures)
    kept = RecogConsistencyLoss(ensemble, cache_reference=True)
    for value in (0.0, 0.7):  # of the padding, which is no part of the images
        found = kept(padded(output, value), padded(clean, value), sizes=SIZES)
        alone = [RecogConsistencyLoss(ensemble)(image[None], gt[None]) for image, gt in zip(output, clean, strict=True)]
        torch.testing.assert_close(found, sum(alone) / 3)


def test_an_ensemble_draws_once_for_all_sizes_of_a_batch(tiny_recognizer, pictures):
    members = [tiny_recognizer(seed=seed) for seed in range(4)]
    drawn = EnsembleRecognizer(members, sample=1, seed=5)
    output, clean = ([image.double() for image in part] for part in pictures)
    value = RecogConsistencyLoss(drawn)(padded(output), padded(clean), sizes=SIZES)
    each = [RecogConsistencyLoss(member)(padded(output), padded(clean), sizes=SIZES) for member in members]
    assert any(torch.isclose(value, one) for one in each)


@pytest.mark.parametrize('sizes, message', [
    ([(4, 4)], r'expected \(height, width\) for each of 2 images'), ([(4, 4), 5], 'for each of 2 images'),
    ([(4, 4), (4, 4, 4)], 'for each of 2 images'), ([(4.0, 4), (4, 4)], 'for each of 2 images'),
    ([torch.tensor([4, 4]), torch.tensor([4, 4])], 'for each of 2 images'),
    ([(10, 12), (11, 12)], 'image 1: expected at most 10x12, the size of the batch, got 11x12'),
    ([(10, 12), (0, 12)], 'image 1: expected at most 10x12')])
def test_sizes_that_do_not_fit_are_refused(tiny_recognizer, images, sizes, message):
    with pytest.raises(ValueError, match=rf'^RecogLoss\(TanhNet\): sizes: .*{message}'):
        RecogLoss(tiny_recognizer())(images, torch.tensor([1, 2]), sizes=sizes)


@pytest.mark.slow
def test_a_detector_s_label_need_not_name_its_size(build, pictures):
    label = labels_of('detection')
    loss = RecogLoss(build('retinanet'))
    bare = [{key: value for key, value in item.items() if key != 'size'} for item in label]
    batch = padded(pictures[0])
    assert torch.equal(loss(batch, bare, sizes=SIZES), loss(batch, label, sizes=SIZES))


def test_padding_of_a_pipeline_is_no_place_that_is_compared(build):
    """Of an image of 32x64 the lower half of the square that the model is given is padding."""
    recognizer = build('fcos')
    image = torch.rand(1, 3, 32, 64)
    assert recognizer.prepare(image).shape[-2:] == (64, 64)
    places = sum((32 // stride) * (64 // stride) for stride in (4, 8, 16, 32))
    assert recognizer.outputs(image)['logits'].shape == (1, 2, 3 * places)
    assert recognizer.features(image).shape[-2:] == (1, 2)


@pytest.mark.parametrize('kind', LOSSES)
def test_padded_images_of_words_count_as_alone(pictures, kind):
    recognizer = CTCRecognizer(TinyReader(), characters='abcdef', height=16)
    words = ['ab', 'fed', 'ace']
    loss, (output, clean) = LOSSES[kind](recognizer), pictures
    value = loss(padded(output), words if kind == 'recog' else padded(clean, 0.5), sizes=SIZES)
    alone = [loss(image[None], [word] if kind == 'recog' else gt[None])
             for image, gt, word in zip(output, clean, words, strict=True)]
    torch.testing.assert_close(value, sum(alone) / 3)
