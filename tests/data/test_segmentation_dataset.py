"""Masks follow their pixels, values are read unchanged, padding is ignored, errors are clear."""
import logging

import numpy as np
import pytest
import torch
from basicsr.data import build_dataset
from PIL import Image

import ra_plugin.basicsr  # noqa: F401  (registers)
from ra_plugin.builders.loaders import build_val_loaders
from ra_plugin.data import SegmentationDataset
from ra_plugin.data.class_check import check_classes
from ra_plugin.options import OptionError
from ra_plugin.recognizers import EnsembleRecognizer, Recognizer, RecognizerInfo
from ra_plugin.recognizers.openmmlab.model import reduces_zero_label
from ra_plugin.training.resumable_batches import TrainingBatches

NOISE = {'type': 'GaussianNoise', 'sigma': 0.1}
BICUBIC = {'type': 'BicubicDownsample', 'scale': 2}
SIZES = {'a': (30, 40), 'b': (33, 25), 'deep/c': (19, 21)}
VOID = 3
CLASSES = ['sky', 'road', 'car']


def make_mask(height, width, seed=0):
    """Return a mask with blocks of 5 pixels with the values 0..3."""
    blocks = np.random.default_rng(seed).integers(0, 4, (height // 5 + 1, width // 5 + 1)).astype(np.uint8)
    return blocks.repeat(5, 0).repeat(5, 1)[:height, :width]


def paint(mask):
    """Return the image of a mask: red is 255 in class 0, green in class 1, blue in class 2; black has no class."""
    return np.stack([mask == i for i in range(3)], 2).astype(np.uint8) * 255


def write(root, sizes=SIZES, image_suffix='.png', mask_suffix='.png', mode='L'):
    for seed, (name, size) in enumerate(sizes.items()):
        mask = make_mask(*size, seed)
        for folder, suffix, image in (('images', image_suffix, Image.fromarray(paint(mask))),
                                      ('masks', mask_suffix, as_mode(mask, mode))):
            path = root / folder / f'{name}{suffix}'
            path.parent.mkdir(parents=True, exist_ok=True)
            image.save(path)


def as_mode(mask, mode):
    image = Image.fromarray(mask)
    if mode == 'P':
        image.putpalette(np.random.default_rng(0).integers(0, 256, 768, np.uint8).tobytes())
    return image


@pytest.fixture
def root(tmp_path):
    write(tmp_path)
    return tmp_path


def build(root, phase='val', **opt):
    return SegmentationDataset({'name': 'Set', 'phase': phase, 'dataroot_gt': str(root / 'images'),
                                'dataroot_mask': str(root / 'masks'), 'classes': CLASSES, 'ignore_index': VOID, **opt})


def label_of(gt):
    """Return the expected label of an image made by ``paint``: long ``(H, W)``."""
    brightest, number = gt.max(0)
    return torch.where(brightest > 0.5, number, 255)


# What an item is

def test_item_has_lq_and_gt_and_a_label_of_gts_size(root):
    item = build(root, degradation=BICUBIC, scale=2)[0]
    assert set(item) == {'lq', 'gt', 'label', 'lq_path', 'gt_path'}
    assert item['gt'].shape == (3, 30, 40) and item['lq'].shape == (3, 15, 20)
    assert item['gt_path'] == item['lq_path'] == str(root / 'images/a.png')
    mask = make_mask(30, 40)
    expected = np.where(mask == VOID, 255, mask).astype(np.int64)
    assert item['label'].dtype == torch.long and set(expected.flat) == {0, 1, 2, 255}
    np.testing.assert_array_equal(item['label'], expected)


def test_images_at_any_depth_have_the_mask_of_their_path(root):
    dataset = build(root)
    assert [path[len(str(root)) + 1:] for path in dataset.paths] == [
        'images/a.png', 'images/b.png', 'images/deep/c.png']
    assert [path[len(str(root)) + 1:] for path in dataset.mask_paths] == [
        'masks/a.png', 'masks/b.png', 'masks/deep/c.png']
    assert dataset.classes == tuple(CLASSES) and dataset.num_classes == 3
    for item in dataset:
        assert torch.equal(item['label'], label_of(item['gt']))


def test_palette_masks_are_read_by_their_values_not_their_colors(root, tmp_path):
    write(tmp_path / 'palette', mode='P')
    for one, other in zip(build(root), build(tmp_path / 'palette'), strict=True):
        assert torch.equal(one['label'], other['label'])


def test_cityscapes_suffixes(tmp_path):
    sizes = {'aachen/aachen_000000_000019': (10, 12), 'bonn/bonn_000001_000019': (8, 12)}
    suffixes = {'image_suffix': '_leftImg8bit.png', 'mask_suffix': '_gtFine_labelTrainIds.png'}
    write(tmp_path, sizes, **suffixes)
    for name in sizes:  # what lies beside the masks
        (tmp_path / f'masks/{name}_gtFine_color.png').touch()
        (tmp_path / f'masks/{name}_gtFine_polygons.json').touch()
    dataset = build(tmp_path, **suffixes)
    assert len(dataset) == 2 and dataset.mask_paths[1].endswith('bonn/bonn_000001_000019_gtFine_labelTrainIds.png')
    assert torch.equal(dataset[1]['label'], label_of(dataset[1]['gt']))


def test_meta_info_names_the_images_to_use(root):
    (root / 'train.txt').write_text('deep/c\na\n')
    (root / 'masks/b.png').unlink()
    dataset = build(root, meta_info=str(root / 'train.txt'))
    assert [path[len(str(root)) + 1:] for path in dataset.paths] == ['images/deep/c.png', 'images/a.png']


def test_number_of_classes_is_enough(root, tmp_path):
    dataset = build(root, classes=None, num_classes=4, ignore_index=255)
    assert dataset.classes is None and dataset.num_classes == 4
    assert dataset[0]['label'].unique().tolist() == [0, 1, 2, 3]
    (tmp_path / 'classes.txt').write_text('\n'.join(CLASSES))
    assert build(root, classes=str(tmp_path / 'classes.txt'), num_classes=3).classes == tuple(CLASSES)


def test_value_255_is_always_ignored_and_a_class_can_be(root):
    mask = make_mask(30, 40)
    Image.fromarray(np.where(mask == 1, 255, mask).astype(np.uint8)).save(root / 'masks/a.png')
    assert (build(root)[0]['label'].numpy() == 255).tolist() == ((mask == 1) | (mask == VOID)).tolist()
    label = build(root, classes=None, num_classes=4, ignore_index=0)[1]['label']
    assert torch.equal(label == 255, torch.from_numpy(make_mask(33, 25, seed=1) == 0))


def test_label_map_gives_numbers_to_values_and_ignores_the_others(root):
    mask = make_mask(30, 40)
    Image.fromarray(np.array([7, 255, 8, 200], np.uint8)[mask]).save(root / 'masks/a.png')
    dataset = build(root, classes=None, num_classes=2, ignore_index=255, label_map={7: 1, 255: 0, 8: 0})
    np.testing.assert_array_equal(dataset[0]['label'], np.array([1, 0, 0, 255])[mask])


# Geometry: image and mask are one picture, so the label of gt can be read off gt

@pytest.mark.parametrize('opt, exact', [
    ({}, True),
    ({'crop_size': 12}, True),
    ({'crop_size': [16, 30], 'use_hflip': True}, True),
    ({'crop_size': [8, 14], 'degradation': BICUBIC, 'use_hflip': True}, True),
    ({'resize': [60, 70], 'crop_size': 40}, False),
    ({'resize': 25, 'scale_range': [0.8, 2.0], 'crop_size': [24, 32], 'degradation': BICUBIC, 'use_hflip': True},
     False),
])
@pytest.mark.parametrize('phase', ['train', 'val'])
def test_masks_stay_on_their_pixels(root, opt, exact, phase):
    dataset = build(root, phase, **opt)
    for index in list(range(3)) * (12 if phase == 'train' else 1):
        item = dataset[index]
        label, expected = item['label'], label_of(item['gt'])
        assert label.shape == item['gt'].shape[1:] == expected.shape and label.dtype == torch.long
        if exact:
            assert torch.equal(label, expected)
        else:  # pixels of one color, away from the borders between blocks
            brightest = item['gt'].max(0).values
            inside = (brightest > 0.999) & (item['gt'].sum(0) < 1.001) | (brightest < 0.001)
            assert inside.float().mean() > 0.1
            assert torch.equal(label[inside], expected[inside])
            assert (label != expected).float().mean() < 0.15


def test_nearest_gives_no_values_between_classes(root):
    mask = np.zeros((30, 40), np.uint8)
    mask[:, 20:] = 2
    Image.fromarray(mask).save(root / 'masks/a.png')
    for size in (17, 47):
        assert build(root, resize=size)[0]['label'].unique().tolist() == [0, 2]


def test_whole_image_is_cut_at_right_and_bottom_to_a_multiple_of_the_scale(root):
    item = build(root, degradation={'type': 'BicubicDownsample', 'scale': 4})[1]  # 33 high, 25 wide
    assert item['gt'].shape == (3, 32, 24) and item['label'].shape == (32, 24)
    mask = make_mask(33, 25, seed=1)[:32, :24]
    np.testing.assert_array_equal(item['label'], np.where(mask == VOID, 255, mask))


# Randomness and loaders

def collect(dataset, workers, seed=0):
    loader = torch.utils.data.DataLoader(dataset, num_workers=workers, batch_size=2, collate_fn=dataset.collate_fn,
                                         generator=torch.Generator().manual_seed(seed))
    return [(batch['lq'], batch['label']) for batch in loader]


def equal(first, second):
    return all(torch.equal(one, other) for pair, twin in zip(first, second, strict=True)
               for one, other in zip(pair, twin, strict=True))


@pytest.mark.slow
def test_validation_is_the_same_for_any_number_of_workers_and_training_follows_the_loaders_seed(root):
    dataset = build(root, degradation=NOISE, crop_size=16)
    assert equal(collect(dataset, 0), collect(dataset, 2, seed=1)) and equal(collect(dataset, 0), collect(dataset, 0))
    dataset = build(root, 'train', degradation=NOISE, crop_size=16, scale_range=[0.7, 1.5], use_hflip=True)
    first = collect(dataset, 2)
    assert equal(collect(dataset, 2), first) and not equal(collect(dataset, 2, seed=1), first)


@pytest.mark.parametrize('phase, opt, size', [
    ('val', {}, (32, 40)), ('train', {'crop_size': [38, 20]}, (38, 20)), ('val', {'crop_size': [38, 20]}, (32, 20))])
def test_padding_is_zero_in_images_and_255_in_labels(root, phase, opt, size):
    dataset = build(root, phase, degradation=BICUBIC, **opt)
    items = [dataset[i] for i in range(3)]
    batch = dataset.collate_fn(items)
    height, width = size
    assert batch['gt'].shape == (3, 3, height, width) and batch['lq'].shape == (3, 3, height // 2, width // 2)
    assert batch['label'].shape == (3, height, width) and batch['label'].dtype == torch.long
    for i, item in enumerate(items):
        h, w = item['label'].shape
        assert torch.equal(batch['gt'][i, :, :h, :w], item['gt'])
        assert torch.equal(batch['label'][i, :h, :w], item['label'])
        assert torch.equal(batch['lq'][i, :, :h // 2, :w // 2], item['lq'])
        assert not batch['gt'][i, :, h:].any() and not batch['gt'][i, :, :, w:].any()
        assert not batch['lq'][i, :, h // 2:].any() and not batch['lq'][i, :, :, w // 2:].any()
        assert (batch['label'][i, h:] == 255).all() and (batch['label'][i, :, w:] == 255).all()


@pytest.mark.slow
@pytest.mark.parametrize('extra', [{'num_worker_per_gpu': 0}, {'num_worker_per_gpu': 2, 'prefetch_mode': 'cpu'}])
def test_the_loaders_for_training_and_validation_pad(root, extra):
    block = {'name': 'Set', 'type': 'SegmentationDataset', 'phase': 'train', 'scale': 2, 'classes': CLASSES,
             'dataroot_gt': str(root / 'images'), 'dataroot_mask': str(root / 'masks'), 'ignore_index': VOID,
             'degradation': BICUBIC, 'batch_size_per_gpu': 3, **extra}
    opt = {'datasets': {'train': block, 'val': {**block, 'phase': 'val'}}, 'model_type': 'RecogAwareModel',
           'world_size': 1, 'rank': 0, 'num_gpu': 0, 'dist': False, 'manual_seed': 0}
    loader = TrainingBatches(build_dataset(block), opt).loader
    for batches in (list(loader), list(build_val_loaders(opt)[0])):
        assert len(batches) == 1
        assert batches[0]['gt'].shape == (3, 3, 32, 40) and batches[0]['label'].shape == (3, 32, 40)


# Bad options

@pytest.mark.parametrize('opt, message', [
    ({'mask_sufix': '.png'}, r"unknown key 'mask_sufix'. Did you mean 'mask_suffix'"),
    ({'dataroot_mask': '/no/such'}, r"\.dataroot_mask: no folder '/no/such'"),
    ({'dataroot_gt': '/no/such'}, r"\.dataroot_gt: no folder '/no/such'"),
    ({'classes': None}, 'expected classes or num_classes, got neither. Masks do not say'),
    ({'num_classes': 4}, r'\.num_classes: expected 3, as many as classes names, got 4'),
    ({'classes': None, 'num_classes': 255}, 'expected 1 to 254 classes, got 255. 255 means ignored'),
    ({'classes': None, 'num_classes': 0}, 'expected 1 to 254 classes, got 0'),
    ({'ignore_index': 256}, r'\.ignore_index: expected a value from 0 to 255, got 256'),
    ({'label_map': {7: 0}}, r'\.ignore_index: not allowed with label_map, got 3'),
    ({'label_map': {7: 3}, 'ignore_index': 255}, r'\.label_map: expected .* class number from 0 to 2, got 7: 3'),
    ({'label_map': {'7': 0}, 'ignore_index': 255}, r"\.label_map: expected .* got '7': 0"),
    ({'label_map': {300: 0}, 'ignore_index': 255}, r'\.label_map: expected a value from 0 to 255 .* got 300: 0'),
    ({'image_suffix': '.jpg'}, r"expected images, got none from '.*images'. Check the folder and image_suffix"),
    ({'mask_suffix': '_gt.png'}, r"\.dataroot_mask: expected the mask '.*masks/a_gt\.png' of 'a\.png', got none"),
    ({'meta_info': 'none.txt'}, r"\.meta_info: no file 'none\.txt'"),
    ({'crop_size': [8, 7], 'degradation': BICUBIC}, r'\.crop_size: expected a multiple of scale 2, got 7'),
])
def test_options_that_cannot_work_are_refused_when_built(root, opt, message):
    with pytest.raises(OptionError, match=message) as error:
        build(root, **opt)
    assert '\n' not in str(error.value)


# Bad data

def test_image_without_a_mask_is_named(root):
    (root / 'masks/deep/c.png').unlink()
    with pytest.raises(OptionError, match=r"expected the mask '.*masks/deep/c\.png' of 'deep/c\.png', got none"):
        build(root)


def test_meta_info_that_lists_more_than_there_is_is_named(root):
    (root / 'list.txt').write_text('a\nd\n')
    with pytest.raises(OptionError, match=r"meta_info: '.*list\.txt' lists 'd', which has no image in dataroot_gt"):
        build(root, meta_info=str(root / 'list.txt'))


def test_images_and_masks_in_one_folder_need_a_suffix(tmp_path):
    write(tmp_path, image_suffix='.jpg')
    for mask in (tmp_path / 'masks').rglob('*.png'):
        mask.rename(tmp_path / 'images' / mask.relative_to(tmp_path / 'masks'))
    opt = {'dataroot_mask': str(tmp_path / 'images')}
    with pytest.raises(OptionError, match=r"expected one file for 'a' in '.*images', got a\.jpg and a\.png"):
        build(tmp_path, **opt)
    assert len(build(tmp_path, image_suffix='.jpg', **opt)) == 3


def test_mask_of_another_size_is_named(root):
    Image.fromarray(make_mask(30, 41)).save(root / 'masks/a.png')
    with pytest.raises(ValueError, match=r'masks/a\.png: expected a mask of 40x30 pixels as .*a\.png, got 41x30'):
        build(root)[0]


def test_value_beyond_the_classes_is_named_wherever_the_crop_is(root):
    mask = make_mask(30, 40)
    mask[29, 39] = 77
    Image.fromarray(mask).save(root / 'masks/a.png')
    with pytest.raises(ValueError, match=r'masks/a\.png: expected class numbers from 0 to 2 or 3 \(ignored\), got 77'):
        build(root, crop_size=4)[0]


@pytest.mark.parametrize('mode', ['RGB', 'RGBA', 'LA', '1', 'I;16'])
def test_mask_that_is_no_index_image_is_refused(root, mode):
    image = Image.fromarray(make_mask(30, 40).astype(np.uint16)) if mode == 'I;16' else as_mode(
        make_mask(30, 40), 'L').convert(mode)
    image.save(root / 'masks/a.png')
    with pytest.raises(ValueError, match=rf'a\.png: expected a mask .* got mode {mode}. Replace colors'):
        build(root)[0]


def test_mask_that_is_damaged_is_named(root):
    (root / 'masks/a.png').write_bytes((root / 'masks/a.png').read_bytes()[:60])
    with pytest.raises(ValueError, match=r'masks/a\.png: expected an image, got a file that cannot be decoded'):
        build(root)[0]


@pytest.mark.parametrize('suffix, options', [
    ('.jpg', {'quality': 100}), ('.webp', {'lossless': False}), ('.jp2', {}), ('.tif', {'compression': 'jpeg'})])
def test_mask_in_a_format_that_changes_numbers_is_refused_when_the_set_is_built(root, suffix, options):
    for file in (root / 'masks').rglob('*.png'):
        Image.open(file).save(file.with_suffix(suffix), **options)
    with pytest.raises(ValueError, match=rf'a\{suffix}: expected a mask in a lossless format, got .* 8-bit gray PNG'):
        build(root, mask_suffix=suffix)


@pytest.mark.parametrize('suffix, options', [('.bmp', {}), ('.gif', {}), ('.tif', {'compression': 'tiff_lzw'}),
                                             ('.pgm', {})])
def test_masks_in_lossless_formats_are_read(root, suffix, options):
    for file in (root / 'masks').rglob('*.png'):
        Image.open(file).save(file.with_suffix(suffix), **options)
    for one, other in zip(build(root), build(root, mask_suffix=suffix), strict=True):
        assert torch.equal(one['label'], other['label'])


# Values that are legal by accident

def set_masks(root, change):
    for file in (root / 'masks').rglob('*.png'):
        Image.fromarray(change(np.asarray(Image.open(file))).astype(np.uint8)).save(file)


@pytest.mark.parametrize('opt', [{}, {'ignore_index': 254}])
def test_black_and_white_masks_are_asked_about(root, opt):
    set_masks(root, lambda mask: 255 * (mask > 1))
    two = {'classes': None, 'num_classes': 2, 'ignore_index': None}
    with pytest.raises(OptionError, match=r'dataroot_mask: expected class numbers, got only 0 and 255 in 3 masks, 255 '
                                          r'in \d+% .* label_map: \{0: 0, 255: 1\}.* ignore_index: 255') as error:
        build(root, **{**two, **opt})
    assert '\n' not in str(error.value)
    white = np.asarray(Image.open(root / 'masks/a.png')) == 255
    assert np.array_equal(build(root, **two, label_map={0: 0, 255: 1})[0]['label'], white)
    assert np.array_equal(build(root, **{**two, 'ignore_index': 255})[0]['label'] == 255, white)


@pytest.mark.slow
def test_zero_that_is_no_class_is_shifted_as_by_mmseg(root):
    loading = pytest.importorskip('mmseg.datasets.transforms.loading')
    set_masks(root, lambda mask: np.where(mask == 0, 255, mask) if mask.shape == (33, 25) else mask)
    dataset = build(root, ignore_index=None, reduce_zero_label=True)
    assert dataset.shifts_labels and not build(root, ignore_index=None, label_map={1: 1}).shifts_labels
    for item, file in zip(dataset, dataset.mask_paths, strict=True):
        theirs = loading.LoadAnnotations()({'seg_map_path': file, 'reduce_zero_label': True, 'seg_fields': []})
        np.testing.assert_array_equal(item['label'], theirs['gt_seg_map'])
    assert torch.equal(build(root, ignore_index=None, label_map={1: 0, 2: 1, 3: 2})[0]['label'], dataset[0]['label'])
    with pytest.raises(OptionError, match='reduce_zero_label: not allowed with label_map'):
        build(root, ignore_index=None, reduce_zero_label=True, label_map={1: 0})


def test_value_of_one_class_too_many_is_found_when_the_set_is_built_and_may_be_ade20ks_zero(root):
    message = (r'expected class numbers from 0 to 2 or 255 \(ignored\), got 3\. If 0 in the files means no class, .*'
               'reduce_zero_label: true')
    for more in ({}, {'on_bad_image': 'skip'}):
        with pytest.raises(ValueError, match=message):
            build(root, ignore_index=None, **more)


def test_masks_without_a_class_are_refused_and_classes_that_are_missing_are_warned_of(root, monkeypatch):
    said = []
    monkeypatch.setattr(logging.getLogger('basicsr'), 'warning', said.append)
    with pytest.raises(OptionError, match=r'expected pixels with a class, got none in its 3 masks: .* are 0, 1'):
        build(root, ignore_index=255, label_map={77: 0})
    assert not said
    build(root, classes=[*CLASSES, 'bus'], ignore_index=None)
    build(root, label_map={0: 0, 1: 2}, ignore_index=255)
    assert len(said) == 1 and '1 of 3 classes do not occur in its 3 masks: 1. Values in the files: 0, 1' in said[0]


def test_recognizer_and_masks_agree_on_what_zero_is(root):
    def recognizer(reduces):
        info = RecognizerInfo(name='x', task='segmentation', num_classes=3, reduce_zero_label=reduces)
        return Recognizer(torch.nn.Identity(), info)

    plain, shifted = build(root), build(root, ignore_index=None, reduce_zero_label=True)
    said = build(root, reduce_zero_label=False)
    for dataset, reduces in ((plain, None), (plain, False), (shifted, None), (shifted, True), (said, True)):
        check_classes(dataset, [recognizer(reduces)], 'd')
    ensemble = EnsembleRecognizer([recognizer(None), recognizer(True)])
    for wanting in (recognizer(True), ensemble):
        with pytest.raises(OptionError, match=r'd: Recognizer\(x\) was trained with reduce_zero_label.* Set red'):
            check_classes(plain, [wanting], 'd')
    with pytest.raises(OptionError, match='d: reduce_zero_label: true, but the config of .* says false'):
        check_classes(shifted, [recognizer(False)], 'd')


@pytest.mark.slow
def test_config_of_mmseg_says_what_zero_is():
    config = pytest.importorskip('mmengine.config').Config
    pytest.importorskip('mmseg.utils').register_all_modules(init_default_scope=False)

    def reduces(dataset):
        return reduces_zero_label(config({'test_dataloader': {'dataset': dataset}}), 'mmseg')

    load = {'type': 'LoadAnnotations', 'reduce_zero_label': True}
    assert reduces({'type': 'ADE20KDataset'}) is True and reduces({'type': 'CityscapesDataset'}) is None
    assert reduces({'type': 'BaseSegDataset', 'pipeline': [{'type': 'LoadImageFromFile'}, load]}) is True
    assert reduces({'type': 'ADE20KDataset', 'reduce_zero_label': False}) is False
    assert reduces({'type': 'RepeatDataset', 'dataset': {'type': 'LoveDADataset'}}) is True
    assert reduces_zero_label(config({}), 'mmseg') is None
