"""Photographs with what belongs to them: a file that is read and written again is the same photograph."""
import struct
import zlib
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, ImageCms, ImageOps
from torch import nn

from ra_plugin.builders.fitted_network import FittedNetwork
from ra_plugin.restoring.image_formats import check_fits, write_photograph
from ra_plugin.restoring.photograph import Header, Photograph, read_header, read_photograph
from ra_plugin.restoring.pixels import enlarged, of_depth
from ra_plugin.restoring.restorer import PhotographRestorer
from ra_plugin.restoring.tile_choice import Choice
from ra_plugin.restoring.tiles import Tiling

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()
CPU = torch.device('cpu')
MAKE, ORIENTATION, EXIF, GPS, WIDTH, HEIGHT, NOTE = 271, 274, 34665, 34853, 40962, 40963, 37500


def noise(*shape, dtype: type = np.uint8):
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, shape, dtype)


def restored(path, target, bits=None, tiling=None):
    """Restore a file with the identity, as the command does, and return the target."""
    photograph = read_photograph(str(path))
    check_fits(photograph, target, bits)
    choice = Choice(1, tiling, tiling.side ** 2 if tiling else 2 ** 20, None, 0, CPU, 1)
    write_photograph(PhotographRestorer(FittedNetwork(nn.Identity()), choice, bits)([photograph])[0], target, 95)
    return target


@pytest.mark.parametrize('tiling', [None, Tiling(16, 4, 2)], ids=['whole', 'tiles'])
@pytest.mark.parametrize('ending', ['png', 'tiff'])
@pytest.mark.parametrize('channels', [1, 2, 3, 4])
@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
def test_values_stay_bit_for_bit(tmp_path, dtype, channels, ending, tiling):
    values = noise(140, 33, channels, dtype=dtype)  # of several strips
    colors = channels - (channels in (2, 4))
    photograph = Photograph(values[..., :colors], values[..., colors] if colors < channels else None, Image.Exif(),
                            None)
    path = tmp_path / f'a.{ending}'
    write_photograph(photograph, path, 95)
    if ending == 'tiff':  # as another program reads it
        np.testing.assert_array_equal(tifffile.imread(path), values.squeeze(2) if channels == 1 else values)
    if ending == 'tiff' and channels == 2 and dtype == np.uint16:
        return  # which Pillow does not read
    target = restored(path, tmp_path / f'b.{ending}', tiling=tiling)
    for file in (path, target):
        found = read_photograph(str(file))
        np.testing.assert_array_equal(found.pixels, photograph.pixels)
        assert found.pixels.dtype == dtype and (found.alpha is None) == (photograph.alpha is None)
        if found.alpha is not None:
            np.testing.assert_array_equal(found.alpha, photograph.alpha)
    if dtype == np.uint8:  # as Pillow reads it
        np.testing.assert_array_equal(np.asarray(Image.open(target)).reshape(values.shape), values)
    assert read_header(str(target)) == Header((33, 140), values.itemsize * 8)


@pytest.mark.parametrize('ending, dtype', [('png', np.uint8), ('png', np.uint16), ('jpg', np.uint8),
                                           ('webp', np.uint8), ('tiff', np.uint8), ('tiff', np.uint16)])
@pytest.mark.parametrize('orientation', range(1, 9))
def test_photographs_are_upright_as_pillow_has_them(tmp_path, orientation, ending, dtype):
    tags = Image.Exif()
    tags[MAKE], tags[ORIENTATION] = 'Maker', orientation
    path = tmp_path / f'a.{ending}'
    values = np.zeros((24, 40, 3), dtype)
    values[:12, :16] = values[4:8, 32:] = np.iinfo(dtype).max
    if dtype == np.uint8:
        settings: dict[str, Any] = {'quality': 100} if ending in ('jpg', 'webp') else {}
        Image.fromarray(values).save(path, exif=tags, **settings)
    elif ending == 'png':
        write_photograph(Photograph(values, None, tags, None), path, 95)
    else:
        tifffile.imwrite(path, values, photometric='rgb', extratags=[(ORIENTATION, 3, 1, orientation, True),
                                                                     (MAKE, 's', 0, 'Maker', True)])
    expected = np.asarray(ImageOps.exif_transpose(Image.open(path)))  # which has 8 bits
    target = restored(path, tmp_path / f'b.{ending}')
    with Image.open(target) as found:
        exif = found.getexif()
        assert ORIENTATION not in exif and exif[MAKE] == 'Maker'
        np.testing.assert_allclose(np.asarray(found).astype(int), expected, atol=0 if ending in ('png', 'tiff') else 60)
        assert found.size == expected.shape[1::-1]


def tagged():
    tags = Image.Exif()
    tags[MAKE], tags[ORIENTATION] = 'Maker', 6
    tags[EXIF] = {WIDTH: 40, HEIGHT: 24, NOTE: b'a\0note', 33434: (1, 50)}
    tags[GPS] = {1: 'N', 2: (48.0, 8.0, 30.0)}
    return tags


@pytest.mark.parametrize('source', ['jpg', 'png', 'webp'])
@pytest.mark.parametrize('ending', ['jpg', 'png', 'webp', 'tiff'])
@pytest.mark.parametrize('bits', [8, 16])
def test_tags_and_profile_come_along(tmp_path, source, ending, bits):
    if bits == 16 and ending not in ('png', 'tiff'):
        return
    path = tmp_path / f'a.{source}'
    Image.fromarray(noise(24, 40, 3)).save(path, exif=tagged(), icc_profile=SRGB)
    with Image.open(restored(path, tmp_path / f'b.{ending}', bits)) as found:
        exif = found.getexif()
        assert exif[MAKE] == 'Maker' and ORIENTATION not in exif
        below = exif.get_ifd(EXIF)
        assert (below[WIDTH], below[HEIGHT]) == found.size == (24, 40) and below[NOTE] == b'a\0note'
        assert exif.get_ifd(GPS)[1] == 'N' and [float(part) for part in exif.get_ifd(GPS)[2]] == [48, 8, 30]
        assert found.info['icc_profile'] == SRGB


def test_a_tiff_files_layout_is_not_taken_for_tags(tmp_path):
    tags = Image.Exif()
    tags.load(tagged().tobytes())
    Image.fromarray(noise(24, 40, 3)).save(tmp_path / 'a.tif', exif=tags)
    with Image.open(restored(tmp_path / 'a.tif', tmp_path / 'b.jpg')) as found:
        assert set(found.getexif()) == {MAKE, EXIF, GPS} and found.size == (24, 40)


def test_tags_that_cannot_be_read_are_left_out_aloud(tmp_path, no_log):
    no_log()
    path = tmp_path / 'a.jpg'
    whole = tagged().tobytes()
    Image.fromarray(noise(8, 8, 3)).save(path, exif=whole[:len(whole) // 2])
    with pytest.warns(UserWarning, match='a.jpg: some of its EXIF tags cannot be read') as told:
        assert read_photograph(str(path)).size == (8, 8)
    assert len(told) == 1


def test_palettes_black_and_white_and_cmyk(tmp_path):
    image = Image.fromarray(noise(20, 30, 3))
    cases = {'p': image.quantize(16), '1': image.convert('1'), 'cmyk': image.convert('CMYK')}
    for name, stored in cases.items():
        path = tmp_path / f'{name}.tif'
        stored.save(path)
        found = read_photograph(str(path))
        assert found.is_gray == (name == '1') and found.alpha is None
        expected = np.asarray(stored.convert('L' if name == '1' else 'RGB'))
        np.testing.assert_array_equal(found.pixels.squeeze(), expected)
    stored = cases['p']
    stored.save(tmp_path / 't.png', transparency=3)
    found = read_photograph(str(tmp_path / 't.png'))
    expected = np.asarray(Image.open(tmp_path / 't.png').convert('RGBA'))
    assert found.alpha is not None
    np.testing.assert_array_equal(np.dstack([found.pixels, found.alpha]), expected)
    assert 0 < (found.alpha == 0).sum() < found.alpha.size


def test_a_profile_of_other_colors_is_not_kept(tmp_path):
    Image.fromarray(noise(8, 8)).save(tmp_path / 'a.png', icc_profile=SRGB)
    assert read_photograph(str(tmp_path / 'a.png')).profile is None
    Image.fromarray(noise(8, 8, 3)).convert('CMYK').save(tmp_path / 'b.jpg', icc_profile=SRGB)  # it is none of CMYK
    with pytest.raises(ValueError, match='its CMYK profile cannot be used'):
        read_photograph(str(tmp_path / 'b.jpg'))


def test_transparent_pixels_keep_their_colors(tmp_path):
    values = noise(16, 16, 4)
    values[..., 3] = np.where(values[..., 3] > 128, 255, 0)
    Image.fromarray(values).save(tmp_path / 'a.png')
    target = restored(tmp_path / 'a.png', tmp_path / 'b.tiff')
    np.testing.assert_array_equal(np.asarray(Image.open(target)), values)
    photograph = read_photograph(str(tmp_path / 'a.png'))
    write_photograph(photograph, tmp_path / 'c.webp', 100)  # without loss
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / 'c.webp')), values)


@pytest.mark.parametrize('scale', [2, 3, 4])
@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
def test_alpha_is_enlarged_by_cubic_interpolation(scale, dtype):
    alpha = np.kron(noise(5, 6, dtype=dtype), np.ones((4, 4), dtype))
    expected = torch.nn.functional.interpolate(torch.from_numpy(alpha.astype(np.float64))[None, None],
                                               scale_factor=scale, mode='bicubic')[0, 0]
    found = enlarged(alpha, scale)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected.clamp(0, np.iinfo(dtype).max), atol=1.5 * np.iinfo(dtype).max / 255)


def test_depths():
    every = np.arange(65536, dtype=np.uint16)
    np.testing.assert_array_equal(of_depth(every, np.uint8), np.rint(every.astype(float) * 255 / 65535))
    np.testing.assert_array_equal(of_depth(of_depth(every[:256].astype(np.uint8), np.uint16), np.uint8), every[:256])


@pytest.mark.parametrize('name, bits, channels, message', [
    ('a.jpg', None, 4, 'expected an opaque image, got transparent pixels, which JPEG does not hold'),
    ('a.bmp', None, 2, 'which BMP does not hold'), ('a.webp', 16, 3, 'expected 8 bits per channel, got 16, which W')])
def test_what_a_format_does_not_hold_is_refused(name, bits, channels, message, tmp_path):
    values = noise(4, 4, channels)
    colors = channels - (channels in (2, 4))
    alpha = values[..., colors] if colors < channels else None
    photograph = Photograph(values[..., :colors], alpha, Image.Exif(), None)
    with pytest.raises(ValueError, match=message):
        check_fits(photograph, tmp_path / name, bits)
    photograph.alpha = None if alpha is None else np.full_like(alpha, 255)
    if bits is None:
        check_fits(photograph, tmp_path / name, bits)
        write_photograph(photograph, tmp_path / name, 95)
        assert Image.open(tmp_path / name).mode == ('L' if channels == 2 else 'RGB')


def png(width, height, bits=8):
    def chunk(name, content):
        return struct.pack('>I', len(content)) + name + content + struct.pack('>I', zlib.crc32(name + content))
    return (b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, bits, 2, 0, 0, 0))
            + chunk(b'IDAT', zlib.compress(bytes(100))) + chunk(b'IEND', b''))


def frames(path, kind):
    first, second = Image.fromarray(noise(8, 8, 3)), Image.fromarray(255 - noise(8, 8, 3))
    first.save(path, kind, save_all=True, append_images=[second])


@pytest.mark.parametrize('name, write, message', [
    ('bomb.png', lambda path: path.write_bytes(png(50000, 50000)), 'expected at most 178956970 pixels, got 25'),
    ('deep_bomb.png', lambda path: path.write_bytes(png(50000, 50000, 16)), r'expected at most 178956970 pixels'),
    ('cut.png', lambda path: path.write_bytes(png(500, 500)), 'cannot be decoded'),
    ('cut16.png', lambda path: path.write_bytes(png(500, 500, 16)[:60]), 'cannot be decoded'),
    ('empty.jpg', lambda path: path.write_bytes(b''), 'not an image format'),
    ('moving.png', lambda path: frames(path, 'PNG'), 'expected one image, got 2 frames'),
    ('pages.tif', lambda path: frames(path, 'TIFF'), 'expected one image, got 2 frames'),
    ('float.tif', lambda path: tifffile.imwrite(path, np.ones((4, 4), np.float32)), 'got mode F'),
    ('planes.tif', lambda path: tifffile.imwrite(path, noise(3, 8, 9, dtype=np.uint16), photometric='rgb',
                                                 planarconfig='separate'), 'got another layout'),
    ('deep.ppm', lambda path: path.write_bytes(b'P6 # a\n2 1\n65535\n' + bytes(12)), 'got another layout'),
    ('lab.tif', lambda path: Image.new('LAB', (4, 4)).save(path), 'got mode LAB')])
def test_files_that_are_refused(tmp_path, name, write, message):
    write(tmp_path / name)
    with pytest.raises(ValueError, match=message) as raised:
        read_photograph(str(tmp_path / name))
    assert name in str(raised.value) and '\n' not in str(raised.value)


@pytest.mark.slow
def test_large_photographs_are_read(tmp_path):
    Image.new('L', (12000, 9000), 7).save(tmp_path / 'a.png')  # 108 million pixels: Pillow warns of it
    assert read_photograph(str(tmp_path / 'a.png')).size == (12000, 9000)


def test_the_photograph_of_a_camera_with_previews(tmp_path):
    first, preview = Image.fromarray(noise(16, 16, 3)), Image.new('RGB', (8, 8))
    first.save(tmp_path / 'a.jpg', 'MPO', save_all=True, append_images=[preview])
    np.testing.assert_array_equal(read_photograph(str(tmp_path / 'a.jpg')).pixels,
                                  np.asarray(Image.open(tmp_path / 'a.jpg').convert('RGB')))
