"""Large images and EXIF orientation: the same rule for all readers of images."""
import io

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

import ra_plugin.basicsr  # noqa: F401  (registers)
from ra_plugin.data import DetectionDataset, LabeledImageDataset, SegmentationDataset
from ra_plugin.data.files import UnsettledFileError
from ra_plugin.data.image_file import decode_image
from ra_plugin.evaluation.judging import Batch
from ra_plugin.evaluation.restorers import FolderOfImages
from ra_plugin.training.resumable_batches import PlacedItems

SEEN = np.full((40, 30, 3), 20, np.uint8)  # as a viewer shows it, high
SEEN[4:18, 4:20] = 255  # the object
BOX = (4, 4, 20, 18)


def stored(seen, orientation):
    """Return the pixels that a camera stores, which rotated by the orientation are ``seen``."""
    inverse = {1: None, 2: Image.FLIP_LEFT_RIGHT, 3: Image.ROTATE_180, 4: Image.FLIP_TOP_BOTTOM, 5: Image.TRANSPOSE,
               6: Image.ROTATE_90, 7: Image.TRANSVERSE, 8: Image.ROTATE_270}[orientation]
    image = Image.fromarray(seen)
    return image if inverse is None else image.transpose(inverse)


def save(path, seen, orientation, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = stored(seen, orientation)
    exif = image.getexif()
    exif[274] = orientation
    image.save(path, exif=exif, **{'quality': 100, 'subsampling': 0, **options})
    return path


def voc(root, size, seen=SEEN, box=BOX, orientation=6):
    save(root / 'JPEGImages/a.jpg', seen, orientation)
    (root / 'Annotations').mkdir()
    (root / 'ImageSets/Main').mkdir(parents=True)
    (root / 'ImageSets/Main/val.txt').write_text('a\n')
    numbers = ''.join(f'<{key}>{value + 1}</{key}>'
                      for key, value in zip(('xmin', 'ymin', 'xmax', 'ymax'), box, strict=True))
    size = size and f'<size><width>{size[0]}</width><height>{size[1]}</height></size>'
    (root / 'Annotations/a.xml').write_text(
        f'<annotation>{size or ""}<object><name>cat</name><bndbox>{numbers}</bndbox></object></annotation>')
    return {'phase': 'val', 'dataroot_gt': str(root), 'split': 'val'}


def brightness(item):
    x1, y1, x2, y2 = (int(value) for value in item['label']['boxes'][0])
    return item['gt'][:, y1:y2, x1:x2].mean().item()


@pytest.mark.parametrize('orientation', [5, 6, 7, 8])
def test_boxes_on_the_upright_image_stay_on_their_objects(tmp_path, orientation):
    item = DetectionDataset(voc(tmp_path, (30, 40), orientation=orientation))[0]
    assert item['gt'].shape == (3, 40, 30) and brightness(item) > 0.95


def test_boxes_on_the_stored_pixels_stay_on_their_objects(tmp_path):
    lying = np.ascontiguousarray(SEEN.transpose(1, 0, 2))  # 40 wide, 30 high
    upright = np.asarray(ImageOps.exif_transpose(Image.open(save(tmp_path / 'a.jpg', lying, 1))).transpose(
        Image.ROTATE_270))
    item = DetectionDataset(voc(tmp_path / 'voc', (40, 30), np.ascontiguousarray(upright), (4, 4, 18, 20)))[0]
    assert item['gt'].shape == (3, 30, 40) and brightness(item) > 0.95


@pytest.mark.parametrize('size, side, orientation', [
    ((30, 40), None, 3), (None, None, 6), ((99, 40), None, 6), ((40, 40), 40, 6), ((30, 40), None, 2)])
def test_an_orientation_that_no_size_settles_is_refused_early_and_can_be_said(tmp_path, size, side, orientation):
    seen = SEEN if side is None else np.pad(SEEN, ((0, 0), (0, 10), (0, 0)))
    block = voc(tmp_path, size, seen, orientation=orientation)
    for more in ({}, {'on_bad_image': 'skip'}):
        with pytest.raises(UnsettledFileError, match=rf'a\.jpg: .*EXIF orientation {orientation} .*exiftran') as error:
            DetectionDataset({**block, **more})
    assert '\n' not in str(error.value)
    assert brightness(DetectionDataset({**block, 'exif_orientation': 'apply'})[0]) > 0.95
    shape = DetectionDataset({**block, 'exif_orientation': 'ignore'})[0]['gt'].shape
    assert shape[1:] == stored(seen, orientation).size[::-1]


def test_image_that_was_turned_without_exif_is_named(tmp_path):
    block = voc(tmp_path, (40, 30), orientation=1)
    with pytest.raises(UnsettledFileError, match=r"a\.jpg: expected 40x30 pixels as in '.*a\.xml', got 30x40, the two"):
        DetectionDataset(block)
    assert brightness(DetectionDataset({**block, 'exif_orientation': 'ignore'})[0]) > 0.95


@pytest.mark.parametrize('upright', [True, False])
def test_masks_belong_to_the_image_of_their_size(tmp_path, upright):
    save(tmp_path / 'i/a.jpg', SEEN, 6)
    lying = stored(SEEN, 6)
    mask = (np.asarray(Image.fromarray(SEEN) if upright else lying)[..., 0] > 100).astype(np.uint8)
    (tmp_path / 'm').mkdir()
    Image.fromarray(mask).save(tmp_path / 'm/a.png')
    item = SegmentationDataset({'phase': 'val', 'dataroot_gt': str(tmp_path / 'i'), 'num_classes': 2,
                                'dataroot_mask': str(tmp_path / 'm')})[0]
    assert item['gt'].shape[1:] == mask.shape
    assert ((item['gt'][0] > 0.5).long() == item['label']).float().mean() > 0.99


def test_class_labels_take_pixels_as_stored_unless_told(tmp_path):
    save(tmp_path / 'cat/a.jpg', SEEN, 6)
    block = {'phase': 'val', 'dataroot_gt': str(tmp_path)}
    assert LabeledImageDataset(block)[0]['gt'].shape == (3, 30, 40)
    assert LabeledImageDataset({**block, 'exif_orientation': 'apply'})[0]['gt'].shape == (3, 40, 30)


def test_restored_images_are_turned_and_cut_as_the_clean_ones(tmp_path):
    save(tmp_path / 'a.jpg', SEEN, 6)
    for size in ((40, 30), (30, 40), (40, 28), (28, 40)):  # scale 4: up to 3 pixels are over
        gt = torch.zeros(1, 3, *size)
        batch = Batch(gt[..., ::4, ::4], gt, None, [0], ['a.png'])
        if set(size) == {30, 40}:
            assert FolderOfImages(tmp_path)(batch).shape == gt.shape
    Image.fromarray(SEEN).save(tmp_path / 'b.png')
    gt = torch.zeros(1, 3, 40, 28)
    restored = FolderOfImages(tmp_path)(Batch(gt[..., ::4, ::4], gt, None, [0], ['b.png']))
    assert torch.equal((restored[0] * 255).round().byte(), torch.from_numpy(SEEN[:, :28].copy()).permute(2, 0, 1))
    gt = torch.zeros(1, 3, 40, 24)
    assert FolderOfImages(tmp_path)(Batch(gt[..., ::4, ::4], gt, None, [0], ['b.png'])).shape == (1, 3, 40, 30)


# Large images

@pytest.fixture
def small_limit(monkeypatch):
    """Set Pillow's limit to 2000 pixels, which images of 64x64 exceed."""
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 1000)


@pytest.mark.parametrize('suffix', ['png', 'jpg', 'webp', 'bmp', 'tif'])
def test_image_beyond_pillows_limit_says_so_and_is_read_where_it_is_allowed(small_limit, suffix):
    buffer = io.BytesIO()
    Image.new('RGB', (64, 64), (255, 0, 0)).save(buffer, {'jpg': 'JPEG', 'tif': 'TIFF'}.get(suffix, suffix.upper()))
    with pytest.raises(UnsettledFileError, match=r'a: expected at most 2000 pixels, got 4096 \(64x64\)\..*_pixels: 4'):
        decode_image(buffer.getvalue(), 'a')
    assert decode_image(buffer.getvalue(), 'a', max_pixels=4096).size == (64, 64)
    with pytest.raises(UnsettledFileError, match='at most 4095 pixels'):
        decode_image(buffer.getvalue(), 'a', max_pixels=4095)
    assert Image.MAX_IMAGE_PIXELS == 1000


def test_large_image_is_allowed_by_an_option_and_never_skipped(tmp_path, small_limit):
    (tmp_path / 'c').mkdir()
    Image.new('RGB', (64, 64)).save(tmp_path / 'c/a.png')
    Image.new('RGB', (8, 8)).save(tmp_path / 'c/b.png')
    block = {'phase': 'train', 'dataroot_gt': str(tmp_path), 'on_bad_image': 'skip',
             'degradation': {'type': 'JPEGCompression', 'quality': 50}}  # which encodes and decodes it again
    items = PlacedItems(LabeledImageDataset(block), 0, 'skip', 'datasets.train')
    with pytest.raises(ValueError, match=r'a\.png: expected at most 2000 pixels, got 4096'):
        items[0, 0, 0]
    assert LabeledImageDataset({**block, 'max_pixels': 5000})[0]['gt'].shape == (3, 64, 64)


def test_large_masks_are_named_when_the_set_is_built(tmp_path, small_limit):
    for folder, mode in (('i', 'RGB'), ('m', 'L')):
        (tmp_path / folder).mkdir()
        Image.new(mode, (64, 64)).save(tmp_path / folder / 'a.png')
    block = {'phase': 'val', 'dataroot_gt': str(tmp_path / 'i'), 'dataroot_mask': str(tmp_path / 'm'),
             'num_classes': 1}
    with pytest.raises(ValueError, match=r'm/a\.png: expected at most 2000 pixels, got 4096'):
        SegmentationDataset(block)
    assert SegmentationDataset({**block, 'max_pixels': 4096})[0]['label'].shape == (64, 64)
