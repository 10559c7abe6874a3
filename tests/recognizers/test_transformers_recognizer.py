"""TransformersRecognizer against transformers' own image processors, losses and decoding."""
import copy
import functools
import inspect
import json
import pickle
import shutil
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest
import tiny_transformers as tiny
import torch
import torch.nn.functional as F
import transformers as hf
from PIL import Image

from ra_plugin.losses import RecogConsistencyLoss, RecogFeatureLoss, RecogLoss
from ra_plugin.option_types import ModelFolder, named_by
from ra_plugin.options import OptionError
from ra_plugin.recognizers import TransformersRecognizer, build_recognizer
from ra_plugin.recognizers.classification import ClassificationRecognizer
from ra_plugin.recognizers.detection import DetectionRecognizer
from ra_plugin.recognizers.embedding import EmbeddingRecognizer
from ra_plugin.recognizers.facts import TaskError
from ra_plugin.recognizers.frozen.resizing import judging
from ra_plugin.recognizers.segmentation import SegmentationRecognizer
from ra_plugin.utils.random_streams import seeded

CLASSIFIERS, SEGMENTERS = list(tiny.CLASSIFIERS), list(tiny.SEGMENTERS)
DETACHING = ('RTDetr', 'RTDetrV2', 'DFine', 'LwDetr')  # no gradient flows through the choice of queries
DETECTORS = [pytest.param(family, marks=pytest.mark.slow) if family in DETACHING else family
             for family in tiny.DETECTORS]
FAMILIES = [*CLASSIFIERS, *DETECTORS, *SEGMENTERS]
WITHOUT_MARGIN = {  # the processors that cut a margin off, as they would be configured to cut none
    'ConvNext': lambda: hf.ConvNextImageProcessor(size={'shortest_edge': 48}, crop_pct=1.0),
    'ResNet': lambda: hf.ConvNextImageProcessor(size={'shortest_edge': 64}, crop_pct=1.0),
    'Dinov2': lambda: hf.BitImageProcessor(size={'shortest_edge': 32}, crop_size={'height': 32, 'width': 32}),
    'MobileViT': lambda: hf.MobileViTImageProcessor(
        size={'shortest_edge': 64}, crop_size={'height': 64, 'width': 64}),
    'Levit': lambda: hf.LevitImageProcessor(size={'shortest_edge': 56}, crop_size={'height': 64, 'width': 64}),
    'Beit': lambda: hf.BeitImageProcessor(size={'height': 32, 'width': 32}),
}
NATIVE = {'LwDetr': (64, 64), 'RTDetr': (64, 64), 'RTDetrV2': (64, 64), 'DFine': (64, 64), 'DPT': (32, 32),
          'Beit': (32, 32), 'ViT': (32, 32), 'Dinov2': (32, 32), 'Eomt': (64, 96), 'MaskFormer': (64, 96)}  # as is
DETR_SIZE, SIZE = (48, 96), (64, 64)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """``folder('Detr')``: a small model with its image processor, saved once."""
    saved = {}

    def get(family):
        if family not in saved:
            saved[family] = tiny.save(tmp_path_factory.mktemp(family), family)
        return saved[family]

    return get


@pytest.fixture(scope='module')
def recognizer(folder):
    """``recognizer('Detr')``: the family's, built once."""
    return functools.cache(lambda family: TransformersRecognizer(folder(family)))


def native_size(family):
    return NATIVE.get(family, DETR_SIZE if family in tiny.DETECTORS else SIZE)


def picture(height, width, seed=0):
    """A smooth random picture of 8 bits."""
    cells = np.random.default_rng(seed).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    return Image.fromarray(cells).resize((width, height), Image.Resampling.BICUBIC)


def as_images(*pictures):
    return torch.stack([torch.from_numpy(np.array(one)).permute(2, 0, 1).float() / 255 for one in pictures])


@functools.cache
def network(family, folder):
    return getattr(hf, tiny.class_name(family)).from_pretrained(folder(family)).eval()


def own_processor(family, folder):
    return hf.AutoImageProcessor.from_pretrained(folder(family))


def objects(size, count=2):
    """Two objects in the first image, none in the others."""
    boxes = torch.tensor([[0.1, 0.1, 0.5, 0.75], [0.3, 0.25, 0.95, 0.9]]) * torch.tensor([*size[::-1], *size[::-1]])
    return [{'boxes': boxes, 'labels': torch.tensor([0, 2])},
            *[{'boxes': boxes[:0], 'labels': torch.zeros(0, dtype=torch.long)}] * (count - 1)]


def label_map(size, count=2):
    label = torch.randint(3, (count, size[0] // 8, size[1] // 8)).repeat_interleave(8, 1).repeat_interleave(8, 2)
    label[:, :5] = 255
    return label


def label_of(recognizer, size, count=2):
    return {'classification': lambda: torch.tensor([0, 2])[:count], 'detection': lambda: objects(size, count),
            'segmentation': lambda: label_map(size, count)}[recognizer.info.task]()


def summed(recognizer, images, label):
    return sum(term.mean() for term in recognizer.loss(images, label).values())


# ------------------------------------------------------------------------------------------------ which task it is
@pytest.mark.slow
@pytest.mark.parametrize('family, base', [('ViT', ClassificationRecognizer), ('Detr', DetectionRecognizer),
                                          ('Segformer', SegmentationRecognizer), ('Eomt', SegmentationRecognizer)])
def test_the_architecture_says_the_task(family, base, folder):
    recognizer = TransformersRecognizer(folder(family))
    assert isinstance(recognizer, base) and recognizer.info.classes == ('cat', 'dog', 'bird')
    assert str(recognizer).startswith('TransformersRecognizer(') and recognizer.info.num_classes == 3


@pytest.mark.slow
def test_a_tower_has_features_alone(tmp_path):
    recognizer = TransformersRecognizer(tiny.save(tmp_path, 'Dinov2', 'Dinov2Model'))
    assert isinstance(recognizer, EmbeddingRecognizer) and recognizer.info.classes is None
    images = torch.rand(2, 3, 40, 40)
    own = hf.Dinov2Model.from_pretrained(tmp_path).eval()(recognizer.prepare(images))
    torch.testing.assert_close(recognizer.features(images), own.last_hidden_state)
    torch.testing.assert_close(recognizer.outputs(images)['embedding'], F.normalize(own.pooler_output, dim=1))
    with pytest.raises(ValueError, match='an embedding has no classes'):
        RecogLoss(recognizer)


def test_the_task_may_be_another(folder):
    recognizer = TransformersRecognizer(folder('ViT'), task='embedding', pretrained=False)
    assert isinstance(recognizer, EmbeddingRecognizer)
    with pytest.raises(TaskError, match=r'has no vit for detection\. Choose another model, or task\.'):
        TransformersRecognizer(folder('ViT'), task='detection')


def test_arguments_have_the_constructor_s_order_and_are_checked_first(folder):
    path = Path(folder('ViT'))
    assert isinstance(TransformersRecognizer(path, False, 'main'), ClassificationRecognizer)
    assert isinstance(TransformersRecognizer(path, False, None, 'embedding'), EmbeddingRecognizer)
    with pytest.raises(OptionError, match=r"^TransformersRecognizer\(.*\): task: expected .*, got 'detections'"):
        TransformersRecognizer(path, task='detections')
    with pytest.raises(ValueError, match=r'^TransformersRecognizer\(/nope\): .* got no folder: /nope\.'):
        TransformersRecognizer(Path('/nope'))


# ---------------------------------------------------------------------------------------------------- preprocessing
@pytest.mark.slow
@pytest.mark.parametrize('family', FAMILIES)
@pytest.mark.parametrize('size', [(60, 60), (50, 90)])
def test_images_are_prepared_as_the_processor_prepares_the_8_bit_file(family, size, folder, recognizer):
    recognizer = recognizer(family)
    processor = WITHOUT_MARGIN.get(family, lambda: own_processor(family, folder))()
    expected = processor(picture(*size), return_tensors='pt')['pixel_values']
    with judging():
        found = recognizer.prepare(as_images(picture(*size)))
    assert found.shape == expected.shape
    level = 1 / 255 / min(recognizer.info.std)
    assert (found - expected).abs().max() <= 1.25 * level  # it rounds to 8 bits after each axis
    assert (found - expected).abs().mean() < 0.5 * level
    torch.testing.assert_close(recognizer.own_preprocessing().transform(picture(*size)), expected)
    assert recognizer.resized(*size) == tuple(expected.shape[-2:]) or family == 'Eomt'


@pytest.mark.slow
@pytest.mark.parametrize('family', ['EfficientNet', 'ViT', 'Segformer', 'MobileViT'])
def test_the_normalization_is_what_the_processor_does(family, folder, recognizer):
    recognizer = recognizer(family)
    size = native_size(family)
    for level in (0, 100, 255):
        plain = Image.new('RGB', size[::-1], (level, level // 2, 7))
        expected = own_processor(family, folder)(plain, return_tensors='pt')['pixel_values'].mean((2, 3))
        color = torch.tensor([[level, level // 2, 7]]) / 255
        found = (color - torch.tensor(recognizer.info.mean)) / torch.tensor(recognizer.info.std)
        torch.testing.assert_close(found.flip(1) if family == 'MobileViT' else found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_a_classifier_s_images_as_they_come_and_of_a_given_size(folder):
    images = torch.rand(1, 3, 40, 56)
    recognizer = TransformersRecognizer(folder('ViT'), input_size=None)
    assert recognizer.prepare(images).shape[-2:] == (40, 56) and recognizer.resizing() == 'images as they come'
    own = network('ViT', folder)((images - 0.5) / 0.5, interpolate_pos_encoding=True, output_hidden_states=True)
    torch.testing.assert_close(recognizer.outputs(images)['logits'], own.logits)
    given = TransformersRecognizer(folder('ViT'), input_size=[48, 32])
    assert given.prepare(images).shape[-2:] == (48, 32) and given.resized(9, 9) == (48, 32)
    assert given.resizing() == 'images resized to 32x48 pixels' and not given.resizes_as_whole_images


def test_a_layer_s_output_is_of_the_images_as_the_classifier_has_them(folder):
    images = torch.rand(2, 3, 40, 56)
    recognizer = TransformersRecognizer(folder('ViT'), input_size=None, feature_layer='vit.layernorm')
    own = network('ViT', folder).vit((images - 0.5) / 0.5, interpolate_pos_encoding=True)
    torch.testing.assert_close(recognizer.features(images), own.last_hidden_state)
    recognizer.watch(['vit.layernorm'])
    torch.testing.assert_close(recognizer.layer_outputs(images, ['vit.layernorm'])['vit.layernorm'],
                               own.last_hidden_state)


@pytest.mark.slow
def test_whole_images_of_detectors_and_segmenters_as_they_come_and_by_a_factor(folder):
    images = torch.rand(1, 3, 40, 56)
    for family in ('Detr', 'Segformer'):
        assert TransformersRecognizer(folder(family), resize=None).prepare(images).shape[-2:] == (40, 56)
        scaled = TransformersRecognizer(folder(family), resize=1.5)
        assert scaled.prepare(images).shape[-2:] == scaled.resized(40, 56) == (60, 84)
        assert scaled.resizing() == 'images resized by 1.5' and not scaled.resizes_as_whole_images
        expected = F.interpolate(images, (60, 84), mode='bilinear', antialias=True)
        mean, std = (torch.tensor(numbers).view(1, 3, 1, 1) for numbers in (scaled.info.mean, scaled.info.std))
        torch.testing.assert_close(scaled.prepare(images), (expected - mean) / std)
    with judging():  # clamped as images, not as what is normalized
        white = TransformersRecognizer(folder('Detr'), resize=1.5).prepare(torch.full_like(images, 0.9))
    torch.testing.assert_close(white.mean((0, 2, 3)), (0.9 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor(
        [0.229, 0.224, 0.225]))
    label = label_map((40, 56), 1)
    fitted = TransformersRecognizer(folder('Segformer'), resize=0.5).processor.fit_labels(label)
    assert torch.equal(fitted, label[:, 1::2, 1::2])
    whole = TransformersRecognizer(folder('Detr'))
    assert whole.resizes_as_whole_images and whole.resizing() == 'images resized as its own image processor does'


@pytest.mark.parametrize('family, option, message', [
    ('Detr', {'input_size': None}, 'input_size is for classification and embedding, this is for detection'),
    ('Segformer', {'input_size': 64}, 'input_size is for classification and embedding, this is for segmentation'),
    ('ViT', {'resize': None}, 'resize is for detection and segmentation, this is for classification'),
    ('ViT', {'resize': 0.5, 'task': 'embedding'}, 'resize is for detection and segmentation, this is for embedding'),
    ('Detr', {'keep_classes': ['cat']}, 'keep_classes is for classification, this is for detection'),
    ('Detr', {'resize': -1.0}, "resize: expected 'model', a factor > 0 or ~, got -1.0"),
])
def test_options_are_those_of_the_task(family, option, message, folder):
    with pytest.raises(ValueError, match=message):
        TransformersRecognizer(folder(family), **option)


@pytest.mark.slow
@pytest.mark.parametrize('family', ['Segformer', 'MaskFormer', 'Mask2Former', 'Eomt'])  # Beit's and DPT's blur them
def test_label_maps_are_resized_as_the_processor_resizes_them(family, folder, recognizer):
    recognizer, label = recognizer(family), label_map((72, 96), 1)
    found = recognizer.processor.fit_labels(label)
    processor = WITHOUT_MARGIN.get(family, lambda: own_processor(family, folder))()
    further = {'do_reduce_labels': False} if family == 'Segformer' else {}
    own = processor([picture(72, 96)], segmentation_maps=[label[0].numpy().astype(np.uint8)], return_tensors='pt',
                    **further)
    if 'labels' in own:
        assert torch.equal(found, torch.as_tensor(own['labels'][0])[None])
        return
    for one, masks, classes in zip(found, own['mask_labels'], own['class_labels'], strict=True):
        for mask, cls in zip(masks, classes, strict=True):
            if cls != 255:
                assert torch.equal(one == cls, mask.bool())


# ------------------------------------------------------------------------------------------------------- the loss
@pytest.mark.slow
@pytest.mark.parametrize('family', CLASSIFIERS)
def test_classifiers_have_the_cross_entropy_of_the_library_s_logits(family, folder, recognizer):
    recognizer, size = recognizer(family), native_size(family)
    images, label = as_images(picture(*size), picture(*size, 1)), torch.tensor([0, 2])
    expected = network(family, folder)(pixel_values=recognizer.prepare(images), labels=label)
    torch.testing.assert_close(recognizer.loss(images, label)['cross_entropy'].mean(), expected.loss)
    torch.testing.assert_close(recognizer.outputs(images)['logits'], expected.logits)


@pytest.mark.slow
@pytest.mark.parametrize('family', DETECTORS)
def test_detectors_have_the_library_s_loss_on_its_own_preprocessing(family, folder, recognizer):
    size = native_size(family)
    recognizer, label = recognizer(family), objects(size)
    pictures = [picture(*size), picture(*size, 1)]
    annotations = []
    for i, item in enumerate(label):
        corners = item['boxes'].tolist()
        found = [{'bbox': [x, y, right - x, bottom - y], 'category_id': int(cls), 'iscrowd': 0, 'image_id': i,
                  'area': (right - x) * (bottom - y)}
                 for (x, y, right, bottom), cls in zip(corners, item['labels'], strict=True)]
        annotations.append({'image_id': i, 'annotations': found})
    own = own_processor(family, folder)(pictures, annotations=annotations, return_tensors='pt')
    expected = network(family, folder)(**own)
    terms = recognizer.loss(as_images(*pictures), label)
    assert len(terms) >= 3
    torch.testing.assert_close(sum(terms.values()), expected.loss, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize('family', SEGMENTERS)
def test_segmenters_have_the_library_s_loss_on_its_own_preprocessing(family, folder, recognizer):
    size = native_size(family)
    recognizer, label = recognizer(family), label_map(size)
    pictures = [picture(*size), picture(*size, 1)]
    processor = WITHOUT_MARGIN.get(family, lambda: own_processor(family, folder))()
    further = {'ignore_index': 255} if family == 'Eomt' else {}
    maps = label.numpy().astype(np.uint8)
    if family in ('Segformer', 'Eomt'):  # its data set counts from 1
        assert recognizer.info.reduce_zero_label == (family == 'Segformer')
        maps = np.where(maps == 255, 0, maps + 1).astype(np.uint8)
    own = dict(processor(pictures, segmentation_maps=list(maps), return_tensors='pt', **further))
    if isinstance(own.get('labels'), list):
        own['labels'] = torch.stack(own['labels'])
    with seeded(0, torch.device('cpu')):
        expected = network(family, folder)(**own)
    torch.testing.assert_close(recognizer.loss(as_images(*pictures), label)['loss'], expected.loss, rtol=1e-4,
                               atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize('family', ['Segformer', 'MaskFormer', 'Mask2Former', 'Eomt'])  # Beit's and DPT's blur maps
def test_segmenters_have_the_library_s_loss_of_images_that_it_resizes(family, folder, recognizer):
    recognizer, label = recognizer(family), label_map((56, 80))
    pictures = [picture(56, 80), picture(56, 80, 1)]
    processor = WITHOUT_MARGIN.get(family, lambda: own_processor(family, folder))()
    further = {'ignore_index': 255} if family == 'Eomt' else {}
    maps = label.numpy().astype(np.uint8)
    if family in ('Segformer', 'Eomt'):
        maps = np.where(maps == 255, 0, maps + 1).astype(np.uint8)
    floats = [as_images(one)[0] * 255 for one in pictures]  # of 8 bits it would round after resizing
    own = dict(processor(floats, segmentation_maps=list(maps), return_tensors='pt', **further))
    if isinstance(own.get('labels'), list):
        own['labels'] = torch.stack(own['labels'])
    assert own['pixel_values'].shape[-2:] != (56, 80)
    with seeded(0, torch.device('cpu')):
        expected = network(family, folder)(**own)
    torch.testing.assert_close(recognizer.loss(as_images(*pictures), label)['loss'], expected.loss, rtol=1e-4,
                               atol=1e-5)


@pytest.fixture
def in_float64():
    """The losses of transformers have weights of the default type."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.slow
@pytest.mark.parametrize('family', ['ViT', 'ConvNext', *DETECTORS, *SEGMENTERS])
def test_the_gradient_agrees_with_finite_differences(family, recognizer, in_float64):
    recognizer, size = copy.deepcopy(recognizer(family)).double(), native_size(family)
    images, label = as_images(picture(*size)).double().requires_grad_(), label_of(recognizer, size, 1)

    def value(images):
        if family in DETACHING:
            compared = recognizer.features(images) if family == 'LwDetr' else recognizer.outputs(images)['logits']
            return compared.square().mean()
        return summed(recognizer, images, label)

    gradient, = torch.autograd.grad(value(images), images)
    assert gradient.isfinite().all() and gradient.any()
    direction = torch.randn(images.shape)
    step = 1e-6 * direction / direction.norm()
    with torch.no_grad():
        difference = (value(images + step) - value(images - step)) / 2
    torch.testing.assert_close((gradient * step).sum(), difference, rtol=1e-3, atol=1e-13)


@pytest.mark.slow
@pytest.mark.parametrize('family', ['ViT', *DETECTORS, *SEGMENTERS])
def test_it_is_frozen_deterministic_and_leaves_random_states_alone(family, folder, recognizer):
    recognizer, size = recognizer(family), native_size(family)
    images, label = torch.rand(2, 3, *size), label_of(recognizer, size)
    kept = torch.get_rng_state(), [buffer.clone() for buffer in recognizer.model.buffers()]
    recognizer.train()
    first, second = (summed(recognizer, images.clone().requires_grad_(), label) for _ in range(2))
    first.backward()
    assert first == second and torch.equal(kept[0], torch.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(kept[1], recognizer.model.buffers(), strict=True))
    assert not any(p.requires_grad or p.grad is not None for p in recognizer.model.parameters())


@pytest.mark.slow
@pytest.mark.parametrize('family', ['ViT', 'Detr', 'Segformer', 'Mask2Former'])
def test_copies_by_pickle_answer_alike_also_after_calls(family, folder, recognizer):
    recognizer, size = recognizer(family), native_size(family)
    images, label = torch.rand(2, 3, *size), label_of(recognizer, size)
    before, features = summed(recognizer, images, label), recognizer.features(images)
    for one in (pickle.loads(pickle.dumps(recognizer)), copy.deepcopy(recognizer), recognizer):
        assert summed(one, images, label) == before
        torch.testing.assert_close(one.features(images), features)


@pytest.mark.parametrize('duplicated', [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_copy_takes_no_hooks_away(duplicated, folder):
    def hooks(recognizer):
        return [hook for module in recognizer.model.modules() for hook in module._forward_hooks.values()]

    recognizer, images = TransformersRecognizer(folder('ViT')), torch.rand(1, 3, 32, 32)
    recognizer.model(recognizer.prepare(images), output_hidden_states=True)
    count = len(hooks(recognizer))
    expected = recognizer.model(recognizer.prepare(images), output_hidden_states=True).hidden_states
    again = duplicated(duplicated(recognizer))
    assert count > 0 and len(hooks(recognizer)) == count and not hooks(again)
    for one in (recognizer, again):
        found = one.model(one.prepare(images), output_hidden_states=True).hidden_states
        assert len(found) == len(expected) == 3
        torch.testing.assert_close(found, expected)
        assert len(hooks(one)) == count and None not in hooks(one)


@pytest.mark.slow
@pytest.mark.parametrize('family', ['ViT', 'Detr', 'Segformer', 'Mask2Former'])
def test_it_computes_in_16_bits_and_in_blocks_on_demand(family, folder, recognizer):
    recognizer, size = copy.deepcopy(recognizer(family)), native_size(family)
    images, label = torch.rand(2, 3, *size), label_of(recognizer, size)
    before = summed(recognizer, images, label)
    recognizer.set_grad_checkpointing()
    assert recognizer.checkpointed and summed(recognizer, images, label) == before
    recognizer.autocast_to = torch.bfloat16
    after = summed(recognizer, images, label)
    assert after.dtype == torch.float32 and after != before
    torch.testing.assert_close(after, before, rtol=0.05, atol=0.02)


# ------------------------------------------------------------------------------------------------- labels' corners
def boxes_of(height, width, classes=(0, 2)):
    """One object or two in an image, and the library's annotation of them."""
    boxes = torch.tensor([[0.1, 0.1, 0.5, 0.75], [0.3, 0.25, 0.95, 0.9]])[:len(classes)]
    boxes = boxes * torch.tensor([width, height, width, height])
    found = [{'bbox': [x, y, right - x, bottom - y], 'category_id': cls, 'iscrowd': 0, 'image_id': 0,
              'area': (right - x) * (bottom - y)} for (x, y, right, bottom), cls in zip(boxes.tolist(), classes,
                                                                                       strict=True)]
    label = {'boxes': boxes, 'labels': torch.tensor(classes), 'size': (height, width)}
    return label, {'image_id': 0, 'annotations': found}


def as_one_batch(*pictures):
    """Pictures of several sizes as a data loader collates them, with a border that is none of them."""
    images = [as_images(one)[0] for one in pictures]
    height, width = (max(image.shape[side] for image in images) for side in (1, 2))
    return torch.stack([F.pad(image, (0, width - image.shape[2], 0, height - image.shape[1]), value=0.7)
                        for image in images])


WITH_MASKS = ('Detr', 'ConditionalDetr', 'DeformableDetr', 'LwDetr')
SIZES = [(40, 64), (60, 50), (48, 96)]  # smaller, larger and as large as the processors make them
MIXED = [boxes_of(*SIZES[0], (1,)), boxes_of(*SIZES[1], ()), boxes_of(*SIZES[2])]  # one, no and two objects


@pytest.mark.slow
@pytest.mark.parametrize('family', DETECTORS)
def test_images_of_several_sizes_are_the_library_s_own_padded_batch(family, folder, recognizer):
    pictures = [picture(*size, i) for i, size in enumerate(SIZES)]
    floats = [as_images(one)[0] * 255 for one in pictures]  # of 8 bits it would round after resizing
    own = own_processor(family, folder)(floats, annotations=[own for _, own in MIXED], return_tensors='pt')
    if family in WITH_MASKS:
        assert not own['pixel_mask'].all() or family == 'LwDetr'
    takes = inspect.signature(network(family, folder).forward).parameters
    expected = network(family, folder)(**{name: value for name, value in own.items() if name in takes}).loss
    found = recognizer(family).loss(as_one_batch(*pictures), [label for label, _ in MIXED])
    torch.testing.assert_close(sum(found.values()), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize('resize', [None, 2.0])
@pytest.mark.parametrize('family', DETECTORS)
def test_images_of_several_sizes_that_are_not_resized_to_one(family, resize, folder):
    recognizer = TransformersRecognizer(folder(family), resize=resize)
    sizes = [(64, 64), (64, 128)] if family in DETACHING else SIZES  # they take no others
    mixed = [boxes_of(*sizes[0], (1,)), *[boxes_of(*size) for size in sizes[1:]]]
    pictures = [picture(*size, i) for i, size in enumerate(sizes)]
    images, labels = as_one_batch(*pictures), [label for label, _ in mixed]
    found = recognizer.loss(images, labels)
    alone = [{**one, 'pixel_values': value[0]} for one, value in zip(labels, [
        recognizer.prepare(as_images(one)) for one in pictures], strict=True)]
    if family in WITH_MASKS:
        height, width = (max(one['pixel_values'].shape[side] for one in alone) for side in (1, 2))
        inputs, mask = torch.zeros(len(alone), 3, height, width), torch.zeros(len(alone), height, width)
        targets = []
        for i, one in enumerate(alone):
            rows, columns = one['pixel_values'].shape[1:]
            inputs[i, :, :rows, :columns], mask[i, :rows, :columns] = one['pixel_values'], 1
            scale = torch.tensor([columns / one['size'][1] / width, rows / one['size'][0] / height] * 2)
            left, top, right, bottom = (one['boxes'] * scale).unbind(1)
            targets.append({'class_labels': one['labels'], 'boxes': torch.stack(
                [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top], 1)})
        expected = network(family, folder)(pixel_values=inputs, pixel_mask=mask, labels=targets).loss
    else:
        each = [summed(recognizer, as_images(one), [label]) for one, label in zip(pictures, labels, strict=True)]
        expected = sum(each) / len(each)
    torch.testing.assert_close(sum(found.values()), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize('family', DETECTORS)
def test_images_of_one_size_are_one_batch_however_the_labels_say_it(family, recognizer):
    recognizer, size = recognizer(family), native_size(family)
    images, label = torch.rand(2, 3, *size), objects(size)
    found = recognizer.loss(images, [{**item, 'size': size} for item in label])
    for name, value in recognizer.loss(images, label).items():
        assert torch.equal(found[name], value)


@pytest.mark.parametrize('size', [(49, 96), (48, 97), (0, 96), (48,)])
def test_sizes_of_labels_are_within_the_batch(size, recognizer):
    recognizer, label = recognizer('Detr'), objects(DETR_SIZE)
    with pytest.raises(ValueError, match=r'image 1: expected a size \(height, width\) of at most \(48, 96\), that of '):
        recognizer.loss(torch.rand(2, 3, *DETR_SIZE), [label[0], {**label[1], 'size': size}])


@pytest.mark.slow
@pytest.mark.parametrize('has_objects', [True, False])
@pytest.mark.parametrize('family', DETECTORS)
def test_an_image_that_is_not_finite_has_a_loss_that_is_none(family, has_objects, folder):
    recognizer, size = TransformersRecognizer(folder(family)), native_size(family)
    label = [objects(size)[0 if has_objects else 1]] * 2
    images = torch.full((2, 3, *size), torch.nan, requires_grad=True)
    terms = recognizer.loss(images, label)
    value = sum(terms.values())
    assert value.isnan()
    gradient, = torch.autograd.grad(value, images)
    assert gradient.shape == images.shape and not gradient.isfinite().all()
    after = recognizer.loss(torch.rand(2, 3, *size), label)
    assert list(after) == list(terms) and len(after) > 1 and all(term.isfinite() for term in after.values())
    with pytest.raises(ValueError, match='expected labels in'):
        recognizer.loss(images, [{**objects(size)[0], 'labels': torch.tensor([0, 3])}, label[1]])


def test_an_image_that_is_not_finite_in_a_padded_batch(folder, recognizer):
    recognizer, label = recognizer('Detr'), [{**objects((40, 64), 1)[0], 'size': (40, 64)}, objects(DETR_SIZE, 1)[0]]
    images = torch.rand(2, 3, *DETR_SIZE)
    names = list(recognizer.loss(images, label))
    images[1] = torch.nan
    terms = recognizer.loss(images, label)
    assert list(terms) == names and all(term.isnan() for term in terms.values())


def test_boxes_without_area_and_ignored_ones_are_left_out(folder, recognizer):
    recognizer, images = recognizer('Detr'), torch.rand(1, 3, *DETR_SIZE)
    item, = objects(DETR_SIZE, 1)
    further = torch.tensor([[5., 5, 5, 40], [1, 1, 30, 30]])
    more = {'boxes': torch.cat([item['boxes'], further]), 'labels': torch.tensor([0, 2, 1, 1]),
            'ignore': torch.tensor([False, False, False, True])}
    for name, value in recognizer.loss(images, [more]).items():
        torch.testing.assert_close(value, recognizer.loss(images, [item])[name])


@pytest.mark.slow
@pytest.mark.parametrize('family', SEGMENTERS)
def test_pixels_of_no_class_do_not_count(family, folder, recognizer):
    recognizer, size = recognizer(family), native_size(family)
    images, label = torch.rand(2, 3, *size), label_map(size)
    label[1] = 255
    images.requires_grad_()
    gradient, = torch.autograd.grad(recognizer.loss(images, label)['loss'], images)
    assert gradient[0].any() and gradient.isfinite().all()
    if 'Former' not in family and family != 'Eomt':  # a network of masks learns that there is none
        assert not gradient[1].any() or family == 'UperNet'


@pytest.mark.parametrize('family', SEGMENTERS)
def test_a_batch_without_any_labeled_pixel_has_a_finite_loss(family, folder, recognizer):
    recognizer, size = recognizer(family), native_size(family)
    images = torch.rand(1, 3, *size, requires_grad=True)
    loss = recognizer.loss(images, torch.full((1, *size), 255))['loss']
    gradient, = torch.autograd.grad(loss, images)
    assert loss.isfinite() and gradient.isfinite().all()


# ------------------------------------------------------------------------------------------- outputs, predictions
@pytest.mark.slow
@pytest.mark.parametrize('family', DETECTORS)
def test_boxes_are_decoded_by_the_library(family, folder, recognizer):
    recognizer, size = recognizer(family), native_size(family)
    pictures = [picture(*size), picture(*size, 1)]
    processor = own_processor(family, folder)
    with torch.no_grad():
        answers = network(family, folder)(**processor(pictures, return_tensors='pt'))
    expected = processor.post_process_object_detection(answers, threshold=0.0, target_sizes=[size] * 2)
    for found, own in zip(recognizer.predict(as_images(*pictures)), expected, strict=True):
        assert len(found['scores']) == len(own['scores']) > 0
        order = own['scores'].argsort(descending=True, stable=True)
        torch.testing.assert_close(found['scores'], own['scores'][order], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found['boxes'], own['boxes'][order], rtol=1e-3, atol=1e-2)
        assert torch.equal(found['labels'], own['labels'][order])
    threshold = float(expected[0]['scores'].median())
    some = TransformersRecognizer(folder(family), score_threshold=threshold).predict(as_images(*pictures))[0]
    assert 0 < len(some['scores']) < len(expected[0]['scores']) and some['scores'].min() > threshold


@pytest.mark.slow
@pytest.mark.parametrize('family', SEGMENTERS)
def test_label_maps_are_decoded_by_the_library(family, folder, recognizer):
    recognizer, size = recognizer(family), native_size(family)
    pictures = [picture(*size), picture(*size, 1)]
    processor = WITHOUT_MARGIN.get(family, lambda: own_processor(family, folder))()
    inputs = dict(processor(pictures, return_tensors='pt'))
    with torch.no_grad():
        answers = network(family, folder)(**inputs)
    expected = processor.post_process_semantic_segmentation(answers, target_sizes=[size] * 2)
    found = recognizer.predict(as_images(*pictures))['masks']
    assert (found == torch.stack(expected)).float().mean() > 0.999
    logits = F.interpolate(recognizer.outputs(as_images(*pictures))['logits'], size, mode='bilinear')
    clear = logits.amax(1) > logits.min()  # the logarithm of small numbers is cut off
    assert clear.any() and (logits.argmax(1) == found)[clear].float().mean() > 0.999


def test_masks_give_the_logarithm_of_the_sum_of_their_probabilities(folder, recognizer):
    recognizer, images = recognizer('MaskFormer'), torch.rand(1, 3, 64, 96)
    own = network('MaskFormer', folder)(pixel_values=recognizer.prepare(images))
    masks = F.interpolate(own.masks_queries_logits.sigmoid().double(), (64, 96), mode='bilinear')
    classes = own.class_queries_logits.softmax(-1)[..., :-1].double()
    expected = torch.stack([sum(classes[0, q, c] * masks[0, q] for q in range(5)) for c in range(3)])
    torch.testing.assert_close(recognizer.outputs(images)['logits'][0].exp().double(), expected, rtol=1e-2, atol=1e-2)


@pytest.mark.slow
@pytest.mark.parametrize('family', ['MaskFormer', 'Mask2Former', 'Eomt'])
def test_the_consistency_loss_of_masks_is_that_of_their_sums_at_each_pixel(family, folder, recognizer):
    recognizer, size = recognizer(family), (64, 64) if family == 'Eomt' else native_size(family)
    clean = as_images(picture(*size), picture(*size, 1))
    restored = 0.9 * clean + 0.05
    shares = []
    for images in (restored, clean):
        found = network(family, folder)(recognizer.prepare(images))
        classes = found.class_queries_logits.double().softmax(-1)[..., :-1]
        masks = found.masks_queries_logits.double()
        if family != 'MaskFormer':  # their processors enlarge the masks before the sigmoid
            masks = F.interpolate(masks, (384, 384) if family == 'Mask2Former' else size, mode='bilinear')
        sums = F.interpolate(torch.einsum('nqc,nqhw->nchw', classes, masks.sigmoid()), size, mode='bilinear')
        sums = sums.clamp_min(1e-6)
        shares.append(sums / sums.sum(1, keepdim=True))
    expected = (shares[1] * (shares[1] / shares[0]).log()).sum(1).mean()
    value = RecogConsistencyLoss(recognizer, distance='kl', temperature=1.0)(restored, clean)
    assert expected > 1e-6
    torch.testing.assert_close(value.double(), expected, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize('family', DETECTORS)
def test_answers_are_at_the_same_places_of_both_images(family, folder, recognizer):
    recognizer, size = recognizer(family), native_size(family)
    images = torch.rand(2, 3, *size)
    if family == 'LwDetr':  # it does not tell from what it chooses its queries
        with pytest.raises(ValueError, match='LwDetrForObjectDetection selects its queries for each image, '):
            recognizer.outputs(images)
        return
    outputs = recognizer.outputs(images)
    if family in ('Detr', 'Yolos'):
        assert outputs['logits'].shape == (2, 4, 5)  # the last class is no object
    elif family in ('ConditionalDetr', 'DeformableDetr'):
        assert outputs['logits'].shape == (2, 2, 15)
    else:
        assert outputs['logits'].shape == (2, 2, 3 * (8 * 8 + 4 * 4 + 2 * 2))  # of all places, not of the chosen ones
    loss = RecogConsistencyLoss(recognizer, distance='l1')
    restored = (0.9 * images).requires_grad_()
    value = loss(restored, images)
    value.backward()
    assert value > 0 and restored.grad.isfinite().all() and restored.grad.any()
    assert loss(images, images).abs() < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize('family', FAMILIES)
def test_features_are_of_each_image(family, folder, recognizer):
    recognizer, size = recognizer(family), native_size(family)
    images = torch.rand(2, 3, *size)
    features = recognizer.features(images)
    torch.testing.assert_close(recognizer.features(images[1:]), features[1:], rtol=1e-3, atol=1e-4)
    restored = (0.9 * images).requires_grad_()
    RecogFeatureLoss(recognizer)(restored, images).backward()
    assert restored.grad.isfinite().all()


def test_classes_that_are_kept_are_those_of_labels_and_answers(folder, recognizer):
    kept = TransformersRecognizer(folder('ViT'), keep_classes=['bird', 'cat'])
    assert kept.info.classes == ('bird', 'cat') and kept.info.num_classes == 2
    images, label = torch.rand(3, 3, 32, 32), torch.tensor([0, 1, 1])
    logits = network('ViT', folder)(recognizer('ViT').prepare(images)).logits[:, [2, 0]]
    torch.testing.assert_close(kept.outputs(images)['logits'], logits)
    torch.testing.assert_close(kept.loss(images, label)['cross_entropy'], F.cross_entropy(logits, label,
                                                                                         reduction='none'))
    assert torch.equal(kept.predict(images)['labels'][:, 0], logits.argmax(1))
    with pytest.raises(ValueError, match=r'expected labels in 0\.\.1, got'):
        kept.loss(images, label + 1)
    with pytest.raises(ValueError, match=r"keep_classes: no class 'brid'\. Did you mean 'bird'\?"):
        TransformersRecognizer(folder('ViT'), keep_classes=['brid'])


def test_a_layer_of_a_classifier_is_compared_on_demand(folder):
    recognizer = TransformersRecognizer(folder('ResNet'), feature_layer='resnet.encoder.stages.1')
    assert recognizer.features(torch.rand(2, 3, 64, 64)).shape == (2, 12, 8, 8)


# ------------------------------------------------------------------------------------------------------- building
def changed(folder, target, name, **changes):
    """Copy a model's folder with other entries in one of its JSON files."""
    shutil.copytree(folder, target, dirs_exist_ok=True)
    record = json.loads((target / name).read_text())
    (target / name).write_text(json.dumps({**record, **changes}))
    return str(target)


def test_random_weights_are_the_same_wherever_they_are_built(folder):
    block = {'type': 'TransformersRecognizer', 'model': folder('ViT'), 'pretrained': False}
    one, other = (build_recognizer(block).model.state_dict() for _ in range(2))
    saved = network('ViT', folder).state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert any(not torch.equal(one[name], saved[name]) for name in one)
    taken = build_recognizer({**block, 'pretrained': True}).model.state_dict()
    assert all(torch.equal(taken[name], saved[name]) for name in taken)


def test_names_that_say_nothing_are_no_names(folder, tmp_path):
    path = changed(folder('ViT'), tmp_path, 'config.json', id2label={i: f'LABEL_{i}' for i in range(3)})
    recognizer = TransformersRecognizer(path)
    assert recognizer.info.classes is None and recognizer.info.num_classes == 3


@pytest.mark.slow
@pytest.mark.parametrize('family', ['Detr', 'ConditionalDetr'])  # of a softmax, of sigmoids
def test_ids_of_no_class_are_left_out(family, folder, tmp_path):
    path = changed(folder(family), tmp_path, 'config.json', id2label={0: 'N/A', 1: 'cat', 2: 'dog'})
    recognizer, whole = TransformersRecognizer(path), TransformersRecognizer(folder(family))
    assert recognizer.info.classes == ('cat', 'dog') and recognizer.info.num_classes == 2
    images, (item,) = torch.rand(1, 3, *DETR_SIZE), objects(DETR_SIZE, 1)
    logits = whole.answers(images).logits[0]
    gap = (logits[:, 1:3].amax(1) - logits[:, 0]).median()  # some queries find the first class, some another
    for one in (recognizer, whole):
        one.model.class_labels_classifier.bias.data[0] += gap
    found = recognizer.loss(images, [{**item, 'labels': torch.tensor([0, 1])}])
    expected = whole.loss(images, [{**item, 'labels': torch.tensor([1, 2])}])
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)
    with pytest.raises(ValueError, match=r'expected labels in 0\.\.1, got'):
        recognizer.loss(images, [item])
    one, of_all = recognizer.predict(images)[0], whole.predict(images)[0]
    known = of_all['labels'] > 0
    assert 0 < known.sum() < len(known) and torch.equal(one['labels'], of_all['labels'][known] - 1)
    assert torch.equal(one['boxes'], of_all['boxes'][known]) and torch.equal(one['scores'], of_all['scores'][known])
    for name, value in whole.outputs(images).items():
        torch.testing.assert_close(recognizer.outputs(images)[name], value)


@pytest.mark.parametrize('name, changes, message', [
    ('config.json', {'id2label': {1: 'a', 2: 'b', 3: 'c'}}, 'expected the ids of id2label to be 0..2, got'),
    ('config.json', {'auto_map': {'AutoModel': 'mine.Net'}}, 'names code of its own'),
    ('config.json', {'quantization_config': {'quant_method': 'bitsandbytes', 'load_in_8bit': True}}, 'are quantized'),
    ('config.json', {'text_config': {'quantization_config': {'quant_method': 'gptq'}}}, 'are quantized'),
    ('config.json', {'problem_type': 'multi_label_classification'}, 'expected a classifier with one class an image'),
    ('config.json', {'architectures': ['ViTForMaskedImageModeling']}, 'expected an architecture'),
    ('config.json', {'id2label': {i: str(i) for i in range(7)}}, None),
    ('preprocessor_config.json', {'image_processor_type': 'NoSuchProcessor'}, None),
])
def test_a_folder_that_cannot_serve_is_refused_in_one_line(name, changes, message, folder, tmp_path):
    path = changed(folder('ViT'), tmp_path, name, **changes)
    with pytest.raises(ValueError, match=message) as error:
        TransformersRecognizer(path)
    assert '\n' not in str(error.value) and str(error.value).startswith('TransformersRecognizer(')


@pytest.mark.slow
@pytest.mark.parametrize('pretrained', [True, False])
@pytest.mark.parametrize('named', ['kernels-community/flash-attn2', 'flash_attention_2', 'flex_attention'])
@pytest.mark.parametrize('family, expected', [('ViT', 'sdpa'), ('Detr', 'sdpa'), ('MobileViT', 'eager')])
def test_a_config_chooses_no_compiled_kernels(family, expected, named, pretrained, folder, tmp_path, recognizer):
    if family == 'Detr':
        record = json.loads((Path(folder(family)) / 'config.json').read_text())['backbone_config']
        further = {'backbone_config': {**record, 'attn_implementation': named}}
    else:
        further = {}
    path = changed(folder(family), tmp_path, 'config.json', attn_implementation=named, **further)
    found = TransformersRecognizer(path, pretrained)
    configs = [module.config for module in found.model.modules() if isinstance(module, hf.PreTrainedModel)]
    assert found.model.config._attn_implementation == expected
    assert {config._attn_implementation for config in configs} <= {'sdpa', 'eager'}
    if pretrained:
        images = torch.rand(1, 3, *native_size(family))
        torch.testing.assert_close(found.features(images), recognizer(family).features(images))


@pytest.mark.slow
def test_what_is_missing_is_said(folder, tmp_path):
    def refused(pattern, model=str(tmp_path), **options):
        with pytest.raises(ValueError, match=pattern) as error:
            TransformersRecognizer(model, **options)
        assert '\n' not in str(error.value)

    refused('one without config.json')
    (tmp_path / 'detector').mkdir()
    refused(r"got no folder: .*\. Did you mean 'detector'\?", str(tmp_path / 'detectr'))
    changed(folder('ViT'), tmp_path, 'config.json')
    (tmp_path / 'model.safetensors').rename(tmp_path / 'kept')
    refused('has no weights .*pretrained: false')
    torch.save({}, tmp_path / 'pytorch_model.bin')
    refused('its weights in pytorch_model.bin, and loading it could run code')
    (tmp_path / 'preprocessor_config.json').unlink()
    refused(r'has no preprocessor_config\.json.*save_pretrained\(FOLDER\)')
    refused('score_threshold is for detection, this is for classification', folder('ViT'), score_threshold=0.5)
    refused('feature_layer is for classification, this is for detection', folder('Detr'), feature_layer='a')
    refused('no layer', folder('ViT'), feature_layer='a')
    refused("input_size: expected 'model', ~, a number", folder('ViT'), input_size='large')


@pytest.mark.parametrize('config', [
    hf.DetrConfig(backbone='resnet18', use_timm_backbone=True, architectures=['DetrForObjectDetection']),
    hf.MaskFormerConfig(decoder_config=hf.DetrConfig(backbone='resnet18', use_timm_backbone=True),
                        architectures=['MaskFormerForInstanceSegmentation'])], ids=['Detr', 'MaskFormer'])
def test_a_backbone_of_timm_needs_timm(config, tmp_path, monkeypatch):
    config.save_pretrained(tmp_path)
    monkeypatch.setitem(sys.modules, 'timm', None)
    with pytest.raises(ImportError, match=r'^TransformersRecognizer\(.*\) needs timm.* pip install "timm') as error:
        TransformersRecognizer(str(tmp_path), pretrained=False)
    assert '\n' not in str(error.value)


def test_weights_of_another_head_do_not_fit(tmp_path):
    path = tiny.save(tmp_path, 'ViT', 'ViTModel')
    with pytest.raises(ValueError, match=r'do not fit ViTForImageClassification: they lack 2 tensors, as classifier'):
        TransformersRecognizer(path, task='classification')


def test_a_name_of_the_hub_is_fetched_or_said(monkeypatch):
    def unreachable(*args, **kwargs):
        raise httpx.ConnectError('no network')

    monkeypatch.setattr(hf.PreTrainedConfig, 'get_config_dict', unreachable)
    with pytest.raises(OptionError, match='facebook/detr-resnet-50 cannot be fetched, and is not in .* Fetch it where'):
        TransformersRecognizer('facebook/detr-resnet-50')


def test_processors_that_cannot_decode_are_refused(folder, tmp_path):
    hf.ViTImageProcessor().save_pretrained(tmp_path / 'vit')
    record = json.loads((tmp_path / 'vit' / 'preprocessor_config.json').read_text())
    for family, what in (('Detr', 'boxes'), ('Segformer', 'label maps')):
        path = changed(folder(family), tmp_path / family, 'preprocessor_config.json')
        (tmp_path / family / 'preprocessor_config.json').write_text(json.dumps(record))
        with pytest.raises(ValueError, match=f'ViTImageProcessor cannot decode {what}'):
            TransformersRecognizer(path)


def test_models_that_read_more_than_images_are_refused(tmp_path):
    config = hf.CLIPConfig()
    config.architectures = ['CLIPModel']
    config.save_pretrained(tmp_path)
    with pytest.raises(TaskError, match='CLIPModel reads input_ids, not images alone'):
        TransformersRecognizer(str(tmp_path))


@pytest.mark.slow
def test_images_of_a_size_that_the_model_cannot_take_are_said(folder):
    recognizer = TransformersRecognizer(folder('Eomt'), resize=None)
    with pytest.raises(ValueError, match=r'cannot take 1 image of 20x20 .* it takes, as 64x64, or another resize'):
        recognizer.outputs(torch.rand(1, 3, 20, 20))
    recognizer = TransformersRecognizer(folder('DFine'), resize=None)
    with pytest.raises(ValueError, match=r'cannot take 1 image of 60x50 .* that it takes, as 64x64, or another'):
        recognizer.loss(torch.rand(1, 3, 60, 50), objects((60, 50), 1))


@pytest.mark.parametrize('family', ['ViT', 'Detr', 'Segformer'])
def test_an_error_of_another_cause_stays_as_it_is(family, folder, monkeypatch):
    recognizer = TransformersRecognizer(folder(family))

    def broken(*args, **kwargs):
        raise RuntimeError('of another cause')

    monkeypatch.setattr(recognizer.model, 'forward', broken)
    with pytest.raises(RuntimeError, match='^of another cause$'):
        recognizer.outputs(torch.rand(1, 3, *native_size(family)))


def test_an_error_of_the_loss_alone_is_not_one_of_the_size(folder):
    recognizer, size = TransformersRecognizer(folder('Detr')), DETR_SIZE

    def broken(*args, **kwargs):
        raise RuntimeError('the size of something else')

    recognizer.model.loss_function = broken
    with pytest.raises(RuntimeError, match='^the size of something else$'):
        recognizer.loss(torch.rand(1, 3, *size), objects(size, 1))


def test_a_model_of_your_own_is_sent_to_its_folder(folder):
    with pytest.raises(OptionError, match=r'got ViTForImageClassification\. .*{type: TransformersRecognizer, model'):
        RecogLoss(network('ViT', folder))


def test_a_folder_is_looked_up_below_the_root_and_a_name_stays(tmp_path, monkeypatch):
    (tmp_path / 'root' / 'weights' / 'detr').mkdir(parents=True)
    (tmp_path / 'root' / 'facebook').write_text('')
    monkeypatch.chdir(tmp_path)
    names = named_by(ModelFolder, 'weights/detr')
    assert names.resolved('weights/detr', tmp_path / 'root') == str(tmp_path / 'root' / 'weights' / 'detr')
    for name in ('facebook/detr-resnet-50', 'facebook'):
        assert names.resolved(name, tmp_path / 'root') == name
