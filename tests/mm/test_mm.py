"""Configs of mmdet and mmseg that use this package: restored images score like restored files."""
import json
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import warm_start
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS, TRANSFORMS, DefaultScope
from PIL import Image

import ra_plugin.mm.test as mm_test
import ra_plugin.mm.train as mm_train
from ra_plugin.archs import SRResNet
from ra_plugin.degradations import GaussianNoise
from ra_plugin.mm import DegradeImage, RestoreImage, ScaleToOriShape, program
from ra_plugin.options import OptionError
from ra_plugin.recognizers.openmmlab.model import without_downloads
from ra_plugin.utils.command_line import run

pytestmark = pytest.mark.mm

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted((ROOT / 'options' / 'mm').glob('*.py'))
SHIPPED = pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)

# ---------------------------------------------------------------- a tiny detector, a tiny segmenter, and their data

# A user's own architecture, and one that has no weights.
ARCHS = '''
import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import nn

@ARCH_REGISTRY.register()
class Enlarge(nn.Module):
    def __init__(self, upscale=2, mode='bicubic'):
        super().__init__()
        self.upscale, self.mode = upscale, mode
        self.gain = nn.Parameter(torch.zeros(3))

    def forward(self, x):
        return nn.functional.interpolate(x * self.gain.view(1, 3, 1, 1), scale_factor=self.upscale, mode=self.mode)

@ARCH_REGISTRY.register()
class Same(nn.Module):
    def forward(self, x):
        return x
'''
GAIN = [1.0, 0.8, 0.9]  # of R, G and B

LOAD, PACK_SEG = {'type': 'LoadImageFromFile'}, {'type': 'PackSegInputs'}
RESIZE = {'type': 'Resize', 'scale': (128, 96), 'keep_ratio': True}
BOXES, MASKS = {'type': 'LoadAnnotations', 'with_bbox': True}, {'type': 'LoadAnnotations'}
PACK_DET = {'type': 'PackDetInputs', 'meta_keys': ('img_id', 'ori_shape', 'img_shape', 'scale_factor')}
RUNS = {
    'custom_imports': {'imports': ['ra_plugin.mm', 'tiny_archs'], 'allow_failed_imports': False},
    'test_cfg': {'type': 'TestLoop'},
    'optim_wrapper': {'optimizer': {'type': 'Adam', 'lr': 5e-3}},
}
BACKBONE = {'type': 'ResNet', 'depth': 18, 'stem_channels': 8, 'base_channels': 8, 'num_stages': 2, 'strides': (1, 2),
            'dilations': (1, 1), 'norm_eval': False}
NORMALIZE = {'mean': [128.0] * 3, 'std': [64.0] * 3, 'bgr_to_rgb': True}


def detection_config(pipeline, images='images', **settings):
    """Return a config with two kinds of squares, COCO's files and metric, and FCOS with one level."""
    dataset = {'type': 'CocoDataset', 'metainfo': {'classes': ('red', 'blue')}, 'ann_file': 'boxes.json'}
    return {
        **RUNS, 'default_scope': 'mmdet', **settings,
        'model': {
            'type': 'FCOS', 'data_preprocessor': {'type': 'DetDataPreprocessor', 'pad_size_divisor': 32, **NORMALIZE},
            'backbone': {**BACKBONE, 'out_indices': (1,)},
            'neck': {'type': 'FPN', 'in_channels': [16], 'out_channels': 16, 'num_outs': 1},
            'bbox_head': {
                'type': 'FCOSHead', 'num_classes': 2, 'in_channels': 16, 'feat_channels': 16, 'stacked_convs': 1,
                'strides': [8], 'regress_ranges': ((-1, 1e8),), 'norm_on_bbox': True, 'centerness_on_reg': True,
                'norm_cfg': {'type': 'GN', 'num_groups': 4}},
            'test_cfg': {'nms_pre': 100, 'score_thr': 0.05, 'nms': {'type': 'nms', 'iou_threshold': 0.5},
                         'max_per_img': 20}},
        'train_dataloader': {
            'batch_size': 8, 'num_workers': 0, 'sampler': {'type': 'DefaultSampler', 'shuffle': True},
            'dataset': {'type': 'RepeatDataset', 'times': 20, 'dataset': {
                **dataset, 'data_root': 'train', 'data_prefix': {'img': 'images'},
                'pipeline': [LOAD, BOXES, RESIZE, PACK_DET]}}},
        'train_cfg': {'type': 'EpochBasedTrainLoop', 'max_epochs': 1},
        'test_dataloader': {
            'batch_size': 1, 'num_workers': settings.get('num_workers', 0),
            'sampler': {'type': 'DefaultSampler', 'shuffle': False},
            'dataset': {**dataset, 'data_root': 'test', 'data_prefix': {'img': images}, 'test_mode': True,
                        'pipeline': pipeline}},
        'test_evaluator': {'type': 'CocoMetric', 'ann_file': 'test/boxes.json', 'metric': 'bbox'},
    }


def segmentation_config(pipeline, images='images', **settings):
    """Return a config with the same squares as masks, mIoU and FCN."""
    dataset = {'type': 'BaseSegDataset', 'metainfo': {'classes': ('background', 'red', 'blue')},
               'img_suffix': '.png', 'seg_map_suffix': '.png'}
    return {
        **RUNS, 'default_scope': 'mmseg', **settings,
        'model': {
            'type': 'EncoderDecoder',
            'data_preprocessor': {'type': 'SegDataPreProcessor', 'size_divisor': 8, **NORMALIZE},
            'backbone': {**BACKBONE, 'out_indices': (0, 1)},
            'decode_head': {
                'type': 'FCNHead', 'in_channels': 8, 'in_index': 0, 'channels': 8, 'num_convs': 1,
                'concat_input': False, 'num_classes': 3, 'align_corners': False, 'norm_cfg': {'type': 'BN'},
                'loss_decode': {'type': 'CrossEntropyLoss'}},
            'test_cfg': {'mode': 'whole'}},
        'train_dataloader': {
            'batch_size': 8, 'num_workers': 0, 'sampler': {'type': 'InfiniteSampler', 'shuffle': True},
            'dataset': {**dataset, 'data_root': 'train', 'data_prefix': {'img_path': 'images', 'seg_map_path': 'masks'},
                        'pipeline': [LOAD, MASKS, RESIZE, PACK_SEG]}},
        'train_cfg': {'type': 'IterBasedTrainLoop', 'max_iters': 40},
        'default_hooks': {'checkpoint': {'type': 'CheckpointHook', 'by_epoch': False, 'interval': 40}},
        'test_dataloader': {
            'batch_size': 1, 'num_workers': settings.get('num_workers', 0),
            'sampler': {'type': 'DefaultSampler', 'shuffle': False},
            'dataset': {**dataset, 'data_root': 'test', 'data_prefix': {'img_path': images, 'seg_map_path': 'masks'},
                        'test_mode': True, 'pipeline': pipeline}},
        'test_evaluator': {'type': 'IoUMetric', 'iou_metrics': ['mIoU']},
    }


def write_config(path, settings):
    path.write_text(''.join(f'{key} = {value!r}\n' for key, value in settings.items()))
    return path


def draw_squares(folder, sizes, rng):
    """Write ``images``, ``masks`` and ``boxes.json``: a red or blue square in each half, on gray noise."""
    (folder / 'images').mkdir(parents=True)
    (folder / 'masks').mkdir()
    images, boxes = [], []
    for number, (width, height) in enumerate(sizes):
        image, mask = rng.integers(90, 140, (height, width, 3), np.uint8), np.zeros((height, width), np.uint8)
        for half in range(2):
            kind, side = int(rng.integers(2)), int(rng.integers(14, 24))
            x, y = 32 * half + int(rng.integers(29 - side)), int(rng.integers(height - side))
            image[y:y + side, x:x + side] = ((220, 60, 60), (60, 60, 220))[kind]
            mask[y:y + side, x:x + side] = kind + 1
            boxes.append({'id': len(boxes) + 1, 'image_id': number, 'category_id': kind + 1, 'iscrowd': 0,
                          'bbox': [x, y, side, side], 'area': side * side})
        Image.fromarray(image).save(folder / 'images' / f'{number}.png')
        Image.fromarray(mask).save(folder / 'masks' / f'{number}.png')
        images.append({'id': number, 'file_name': f'{number}.png', 'width': width, 'height': height})
    (folder / 'boxes.json').write_text(json.dumps({
        'images': images, 'annotations': boxes, 'categories': [{'id': 1, 'name': 'red'}, {'id': 2, 'name': 'blue'}]}))


def restore_beforehand(folder):
    """Write ``restored``: images halved by PIL, then enlarged and tinted like the network ``Enlarge``."""
    (folder / 'restored').mkdir()
    for path in (folder / 'images').iterdir():
        with Image.open(path) as file:
            image = np.asarray(file)
        height, width = image.shape[:2]
        rows, columns = (np.minimum(range(size + size % 2), size - 1) for size in (height, width))
        even = image[rows][:, columns]
        half = Image.fromarray(even).resize((even.shape[1] // 2, even.shape[0] // 2), Image.BICUBIC)
        lq = torch.from_numpy(np.array(half)).permute(2, 0, 1)[None] / 255
        output = F.interpolate(lq * torch.tensor(GAIN).view(1, 3, 1, 1), scale_factor=2, mode='bicubic')
        restored = (output[0].permute(1, 2, 0).numpy().clip(0, 1) * 255).round().astype(np.uint8)
        Image.fromarray(restored[:height, :width]).save(folder / 'restored' / path.name)


def run_module(arguments, folder):
    done = warm_start.run(arguments, folder, {**os.environ, 'PYTHONPATH': str(ROOT)})
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope='module')
def workplace(tmp_path_factory):
    """Prepare data, architectures and checkpoints of restoration networks, and a trained detector and segmenter."""
    folder, rng = tmp_path_factory.mktemp('mm'), np.random.default_rng(0)
    draw_squares(folder / 'train', [(64, 48)] * 24, rng)
    draw_squares(folder / 'test', [(64, 48), (63, 47), (62, 50), (68, 52), (64, 44), (61, 48)], rng)
    restore_beforehand(folder / 'test')
    (folder / 'tiny_archs.py').write_text(ARCHS)
    torch.save({'params': {'gain': torch.zeros(3)}, 'params_ema': {'gain': torch.tensor(GAIN)}}, folder / 'enlarge.pth')
    torch.save({'gain': torch.ones(3)}, folder / 'ones.pth')
    for name, config in (('det', detection_config([])), ('seg', segmentation_config([]))):
        write_config(folder / f'{name}.py', config)
        run_module(['-m', 'ra_plugin.mm.train', f'{name}.py', '--work-dir', name, '--seed', 0,
                    '--out', f'weights/{name}.pth'], folder)
    return folder


CHECKPOINTS = {'det': 'det/epoch_1.pth', 'seg': 'seg/iter_40.pth'}
DEGRADE = {'type': 'DegradeImage', 'degradation': {'type': 'BicubicDownsample', 'scale': 2}}
RESTORE = {'type': 'RestoreImage', 'network': {'type': 'Enlarge', 'upscale': 2}, 'checkpoint': 'enlarge.pth'}
TWICE = {'type': 'Resize', 'scale_factor': 2.0, 'keep_ratio': True, 'interpolation': 'nearest'}
# what an enlarging network amounts to that copies pixels, to a detector or segmenter of the files as they are
RESTORE_TWICE = {'type': 'RestoreImage', 'network': {'type': 'Enlarge', 'upscale': 2, 'mode': 'nearest'},
                 'checkpoint': 'ones.pth', 'keep_ori_shape': True}
ONCE = {'type': 'Resize', 'scale_factor': 1.0, 'keep_ratio': True}
TO_ORI_SHAPE = {'type': 'ScaleToOriShape'}
STEPS = {  # name -> folder of images, what comes before the annotations
    'clean': ('images', [LOAD, RESIZE]),
    'identity': ('images', [LOAD, {'type': 'RestoreImage', 'network': {'type': 'Same'}}, RESIZE]),
    'restored': ('images', [LOAD, DEGRADE, RESTORE, RESIZE]),
    'restored_in_worker': ('images', [LOAD, DEGRADE, RESTORE, RESIZE]),
    'restored_files': ('restored', [LOAD, RESIZE]),
    'degraded': ('images', [LOAD, DEGRADE, RESIZE, TO_ORI_SHAPE]),
    'enlarged': ('images', [LOAD, RESTORE_TWICE, ONCE, TO_ORI_SHAPE]),
    'enlarged_by_resize': ('images', [LOAD, TWICE]),
}


def test_out_is_the_last_checkpoint(workplace):
    for name, last in CHECKPOINTS.items():
        assert (workplace / f'weights/{name}.pth').read_bytes() == (workplace / last).read_bytes()


# Many configs in one process, for importing mmdet takes longer than scoring a few images.
SCORE_ALL = '''
import json, sys
from ra_plugin.utils.command_line import run
from ra_plugin.mm.test import main
for arguments in json.load(open('jobs.json')):
    sys.argv = ['test', *arguments]
    assert run(main, 'test') == 0, arguments
'''


@pytest.fixture(scope='module')
def scores(workplace):
    """Return the metrics by (library, name in STEPS)."""
    jobs = []
    for library in CHECKPOINTS:
        for name, (images, steps) in STEPS.items():
            workers = {'num_workers': 1} if name == 'restored_in_worker' else {}
            end = [BOXES, PACK_DET] if library == 'det' else [MASKS, PACK_SEG]
            make = detection_config if library == 'det' else segmentation_config
            config = write_config(workplace / f'{library}_{name}.py', make([*steps, *end], images, **workers))
            jobs.append([config.name, CHECKPOINTS[library], '--out', f'scores/{config.stem}.json'])
    (workplace / 'jobs.json').write_text(json.dumps(jobs))
    run_module(['-c', SCORE_ALL], workplace)
    return {(library, name): json.loads((workplace / 'scores' / f'{library}_{name}.json').read_text())
            for library in CHECKPOINTS for name in STEPS}


LIBRARIES = pytest.mark.parametrize('library, metric', [('det', 'coco/bbox_mAP'), ('seg', 'mIoU')])

# ------------------------------------------------------------------------------------------------- scores


@LIBRARIES
def test_training_leaves_something_to_restore_for(scores, library, metric):
    assert scores[library, 'clean'][metric] > 0.15
    assert scores[library, 'clean'] != scores[library, 'restored']


@LIBRARIES
def test_identity_network_scores_as_no_network(scores, library, metric):
    assert scores[library, 'identity'] == scores[library, 'clean']


@LIBRARIES
def test_restored_images_score_as_when_they_lie_on_disk(scores, library, metric):
    assert scores[library, 'restored'] == scores[library, 'restored_files']
    assert scores[library, 'restored_in_worker'] == scores[library, 'restored_files']


@LIBRARIES
def test_degraded_images_are_scored_on_the_grid_of_the_clean_ones(scores, library, metric):
    """A detector or segmenter that sees half the detail still finds half of what it found."""
    assert scores[library, 'degraded'][metric] > scores[library, 'clean'][metric] / 2


@LIBRARIES
def test_enlarged_images_are_scored_on_the_grid_of_the_files(scores, library, metric):
    assert scores[library, 'enlarged'] == scores[library, 'enlarged_by_resize']
    assert scores[library, 'enlarged'][metric] > 0.15


@LIBRARIES
def test_command_line_scores_as_the_function(scores, workplace, library, metric):
    out = run_module(['-m', 'ra_plugin.mm.test', f'{library}_restored.py', CHECKPOINTS[library], '--out', 'cli.json',
                      '--work-dir', 'cli'], workplace)
    expected = scores[library, 'restored']
    assert json.loads((workplace / 'cli.json').read_text()) == expected
    assert json.loads(out[out.rindex('{'):]) == expected


# --------------------------------------------------------------------------------------------- transforms


def loaded(image, index=0):
    """Return the results of ``LoadImageFromFile`` for an RGB image."""
    return {'img': np.ascontiguousarray(image[..., ::-1]), 'img_shape': image.shape[:2], 'ori_shape': image.shape[:2],
            'sample_idx': index}


@pytest.fixture
def picture():
    return np.random.default_rng(1).integers(0, 256, (9, 14, 3), np.uint8)


@pytest.fixture
def srresnet(tmp_path):
    """Return ``srresnet(upscale)``: a small network with block and checkpoint for ``RestoreImage``."""

    def build(upscale):
        block = {'type': 'SRResNet', 'num_feat': 4, 'num_block': 1, 'upscale': upscale}
        net = SRResNet(num_feat=4, num_block=1, upscale=upscale)
        for module in net.modules():
            if isinstance(module, torch.nn.BatchNorm2d):  # statistics that differ from those of any batch
                torch.nn.init.uniform_(module.running_var, 0.1, 0.2)
        torch.save({'params': net.state_dict()}, tmp_path / f'{upscale}.pth')
        return net.eval(), {'network': block, 'checkpoint': str(tmp_path / f'{upscale}.pth')}

    return build


def expected_from(net, image):
    """Apply a network to RGB uint8 by hand, and return BGR."""
    x = torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        y = net(x)[0].permute(1, 2, 0).numpy()
    return np.rint(y.clip(0, 1) * 255).astype(np.uint8)[..., ::-1]


@pytest.mark.parametrize('upscale', [1, 2])
def test_restored_image_is_the_network_s_output(picture, srresnet, upscale):
    net, options = srresnet(upscale)
    results = RestoreImage(**options)(loaded(picture))
    np.testing.assert_array_equal(results['img'], expected_from(net, picture))
    assert results['img'].dtype == np.uint8 and results['img'].flags.c_contiguous
    assert results['img_shape'] == results['ori_shape'] == (9 * upscale, 14 * upscale)


def test_float_image_is_restored_as_it_is(picture, srresnet):
    net, options = srresnet(1)
    image = picture.astype(np.float32) + np.float32(0.25)
    np.testing.assert_array_equal(RestoreImage(**options)(loaded(image))['img'], expected_from(net, image))


def test_without_a_network_it_interpolates(picture):
    restored = RestoreImage(scale=2)(loaded(picture))['img'][..., ::-1]
    x = torch.from_numpy(picture).permute(2, 0, 1)[None].double()
    reference = F.interpolate(x, scale_factor=2, mode='bicubic', antialias=True)[0].permute(1, 2, 0)
    assert np.abs(restored - reference.clamp(0, 255).numpy()).max() <= 0.51
    np.testing.assert_array_equal(RestoreImage()(loaded(picture))['img'][..., ::-1], picture)


def test_multiple_of_lets_a_network_have_its_sizes(picture):
    halves = torch.nn.Sequential(torch.nn.AvgPool2d(2), torch.nn.Upsample(scale_factor=2))  # drops a last odd row
    restore = RestoreImage()
    restore.network = halves
    with pytest.raises(ValueError, match='expected 14x9 from the network .* got 14x8. .* multiple_of'):
        restore(loaded(picture))
    restore.multiple_of = 4
    mirrored = np.pad(picture, ((0, 3), (0, 2), (0, 0)), mode='reflect')
    np.testing.assert_array_equal(restore(loaded(picture))['img'], expected_from(halves, mirrored)[:9, :14])


def test_keep_ori_shape_leaves_the_grid_of_the_file(picture, srresnet):
    results = RestoreImage(**srresnet(2)[1], keep_ori_shape=True)(loaded(picture))
    assert results['img_shape'] == (18, 28) and results['ori_shape'] == (9, 14)


def test_scale_to_ori_shape_changes_nothing_where_resize_is_right(picture):
    with DefaultScope.overwrite_default_scope('mmdet'):
        results = TRANSFORMS.build(RESIZE)(loaded(picture))
    factor = results['scale_factor']
    assert factor != (1, 1)
    assert ScaleToOriShape()(results)['scale_factor'] == factor


@pytest.mark.parametrize('shape', [(8, 12), (9, 14), (11, 13)])
def test_any_size_is_degraded_and_restored_to_its_own(shape):
    image = np.full((*shape, 3), (10, 100, 200), np.uint8)
    results = DegradeImage({'type': 'BicubicDownsample', 'scale': 4})(loaded(image))
    assert results['img_shape'] == results['img'].shape[:2] == (-(-shape[0] // 4), -(-shape[1] // 4))
    assert results['ori_shape'] == shape
    results = RestoreImage(scale=4)(results)
    np.testing.assert_array_equal(results['img'], image[..., ::-1])
    assert results['img_shape'] == results['ori_shape'] == shape


def test_noise_is_that_of_the_project_s_data_sets(picture):
    degrade = DegradeImage({'type': 'GaussianNoise', 'sigma': 0.1}, seed=5)
    first, again, other = (degrade(loaded(picture, index))['img'] for index in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    expected = GaussianNoise(sigma=0.1)(picture, np.random.default_rng((5, 3)))
    np.testing.assert_array_equal(first[..., ::-1], expected * np.float32(255))
    assert first.dtype == np.float32  # as the data sets give it: not rounded


def test_gpu_is_for_the_main_process(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    restore = RestoreImage()
    assert restore._device() == torch.device('cuda')
    monkeypatch.setattr(torch.utils.data, 'get_worker_info', lambda: object())
    assert restore._device() == torch.device('cpu')


@pytest.mark.parametrize('options, message', [
    ({'network': {'type': 'SRResnet'}}, r"RestoreImage\.network\.type: no arch.* 'SRResnet'\. Did you mean 'SRResNet'"),
    ({'network': {'type': 'SRResNet', 'num_blocks': 5}}, "unknown key 'num_blocks'. Did you mean 'num_block'"),
    ({'network': {'type': 'SRResNet'}}, 'random weights'),
    ({'network': {'type': 'SRResNet'}, 'checkpoint': 'none.pth'}, 'no checkpoint none.pth'),
    ({'checkpoint': 'net.pth'}, 'needs its network'),
    ({'scale': '2'}, r'RestoreImage\.scale: expected a whole number'),
    ({'scale': 0}, r'RestoreImage\.scale: expected 1 or more, got 0'),
])
def test_options_that_cannot_be_meant(options, message):
    with pytest.raises((OptionError, FileNotFoundError), match=message):
        RestoreImage(**options)


def test_checkpoint_of_another_network(srresnet):
    options = {**srresnet(1)[1], 'network': srresnet(2)[1]['network']}
    with pytest.raises(ValueError, match='does not fit the model'):
        RestoreImage(**options)


def test_scale_that_the_network_does_not_have(picture, srresnet):
    with pytest.raises(ValueError, match='expected 14x9 from the network .* at scale 1, got 28x18'):
        RestoreImage(**srresnet(2)[1], scale=1)(loaded(picture))


def test_degradation_of_another_scale_than_the_network(picture):
    for restore, size in ((RestoreImage(scale=2), '8x6'), (RestoreImage(scale=8), '32x24')):
        results = DegradeImage({'type': 'BicubicDownsample', 'scale': 4})(loaded(picture))
        with pytest.raises(ValueError, match=f'clean image, 14x9, got {size}'):
            restore(results)


@pytest.mark.parametrize('transform', [RestoreImage(), DegradeImage({'type': 'JPEGCompression', 'quality': 10})])
def test_gray_image(transform):
    with pytest.raises(ValueError, match=f'{type(transform).__name__}: expected a color image'):
        transform(loaded(np.zeros((8, 8, 1), np.uint8)))
    with pytest.raises(ValueError, match=f'{type(transform).__name__}: expected a color image'):
        transform({'img': np.zeros((8, 8), np.uint8)})


# ----------------------------------------------------------------------------------------------- programs


def grid_config(*steps):
    return {'default_scope': 'mmdet', 'test_dataloader': {'dataset': {'type': 'Wrapper', 'dataset': {'pipeline': [
        LOAD, *steps, PACK_DET]}}}}


@pytest.mark.parametrize('main, config, message', [
    (mm_test.main, None, 'no config'),
    (mm_test.main, {}, 'expected default_scope mmdet or mmseg, got None'),
    (mm_test.main, {'default_scope': 'mmpose'}, "got 'mmpose'"),
    (mm_test.main, {'default_scope': 'mmseg'}, 'no test_dataloader'),
    (mm_train.main, {'default_scope': 'mmdet', 'test_dataloader': {'dataset': {}}}, 'no train_dataloader'),
    (mm_train.main, {'default_scope': 'mmdet', 'train_dataloader': {'dataset': {}}, 'default_hooks': {
        'checkpoint': None}}, '--out: .* saves no checkpoint'),
    (mm_test.main, grid_config(RESTORE_TWICE, RESIZE),
     "keep_ori_shape needs dict.type='ScaleToOriShape'. directly after"),
    (mm_test.main, grid_config(DEGRADE, RESIZE), 'DegradeImage without RestoreImage needs'),
])
def test_what_the_user_can_mend_is_one_line(main, config, message, tmp_path, monkeypatch, capsys):
    path = tmp_path / 'config.py'
    if config is not None:
        write_config(path, config)
    more = ['weights.pth'] if main is mm_test.main else ['--out', 'weights.pth']
    monkeypatch.setattr(sys, 'argv', ['program', str(path), *more])
    assert run(main, 'program') == 2
    line, = capsys.readouterr().err.splitlines()
    assert line.startswith('program: ')
    assert re.search(message, line)


def test_data_of_another_folder(monkeypatch):
    """See `reproduce.py --data`."""
    class Runner:
        def __init__(self, config):
            self.config = config

        def train(self):
            trained.append(self.config)

    trained = []
    monkeypatch.setattr(mm_train, 'build_runner', Runner)
    config = ROOT / 'options' / 'mm' / 'fcos_mobilenetv2_bccd.py'
    monkeypatch.setattr(sys, 'argv', ['train', str(config), '--data', '/elsewhere'])
    mm_train.main()
    roots = [trained[0][f'{phase}_dataloader'].dataset.data_root for phase in ('train', 'val', 'test')]
    assert roots == ['/elsewhere/bccd'] * 3


def test_out_without_a_checkpoint_is_an_error(monkeypatch, tmp_path):
    class Runner:
        def __init__(self, config):
            pass

        def train(self):
            pass

    monkeypatch.setattr(mm_train, 'build_runner', Runner)
    monkeypatch.setattr(sys, 'argv', ['train', str(ROOT / 'options/mm/fcos_mobilenetv2_bccd.py'), '--out',
                                      str(tmp_path / 'weights.pth'), '--work-dir', str(tmp_path)])
    with pytest.raises(ValueError, match=f'no checkpoint in {tmp_path}'):
        mm_train.main()


def test_error_of_a_data_worker_is_one_line(capsys):
    def main():
        raise ValueError('Caught ValueError in DataLoader worker process 0.\nOriginal Traceback:\n  File\n'
                         'ValueError: RestoreImage: what is wrong\n')
    assert run(main, 'program') == 2
    assert capsys.readouterr().err == 'program: RestoreImage: what is wrong\n'


@pytest.mark.parametrize('steps', [[DEGRADE, RESTORE, RESIZE], [RESTORE_TWICE, RESIZE, TO_ORI_SHAPE], [RESIZE]])
def test_pipelines_that_predict_on_the_right_grid(steps, tmp_path):
    args = program.command_line('').parse_args([str(write_config(tmp_path / 'config.py', grid_config(*steps)))])
    config = program.read_config(args, 'test')
    assert config.work_dir == 'work_dirs/config'


@pytest.mark.slow
def test_values_of_the_command_line_count(tmp_path):
    path = write_config(tmp_path / 'config.py', {**grid_config(RESIZE), 'model': {'depth': 50}})
    args = program.command_line('').parse_args([str(path), '--work-dir', 'w', '--cfg-options', 'model.depth=18'])
    config = program.read_config(args, 'test')
    assert config.model.depth == 18 and config.work_dir == 'w'


# ----------------------------------------------------------------------------------------- shipped configs


@SHIPPED
def test_shipped_config_builds_its_model(path):
    config = Config.fromfile(str(path))
    assert all(name.startswith('ra_plugin.mm') for name in config.custom_imports.imports)
    without_downloads(config.model)
    with DefaultScope.overwrite_default_scope(config.default_scope):
        model = MODELS.build(config.model).eval()
    with torch.no_grad():
        features = model.extract_feat(torch.zeros(1, 3, 128, 128))
        if config.default_scope == 'mmseg':
            assert model.decode_head(features).shape[1] == model.num_classes
            return
    head = model.rpn_head if hasattr(model, 'rpn_head') else model.bbox_head
    assert [(128 // f.shape[3], 128 // f.shape[2]) for f in features] == list(head.prior_generator.strides)


@SHIPPED
def test_shipped_config_reads_data_below_datasets(path):
    config = Config.fromfile(str(path))

    def roots(node):
        if isinstance(node, dict):
            found = [node['data_root']] if 'data_root' in node else []
            return found + roots(list(node.values()))
        return [root for value in node for root in roots(value)] if isinstance(node, list) else []

    found = roots([config[f'{phase}_dataloader'].to_dict() for phase in ('train', 'val', 'test')])
    assert len(found) >= 3 and all(root.startswith('datasets/') for root in found)


@pytest.fixture
def shipped_data(tmp_path, monkeypatch):
    """Write one image of VOC 2007 test and one of Cityscapes val, of odd sizes, and the configs' network."""
    rng = np.random.default_rng(0)
    voc, cityscapes = tmp_path / 'datasets/VOCdevkit/VOC2007', tmp_path / 'datasets/cityscapes'
    for folder in (voc / 'JPEGImages', voc / 'Annotations', voc / 'ImageSets/Main', cityscapes / 'leftImg8bit/val/a',
                   cityscapes / 'gtFine/val/a', tmp_path / 'experiments/ra_srresnet_x4_resnet18/models'):
        folder.mkdir(parents=True)
    Image.fromarray(rng.integers(0, 256, (45, 62, 3), np.uint8)).save(voc / 'JPEGImages/000001.jpg')
    box = ''.join(f'<{key}>{value}</{key}>'
                  for key, value in zip(('xmin', 'ymin', 'xmax', 'ymax'), (1, 2, 62, 45), strict=True))
    (voc / 'Annotations/000001.xml').write_text(
        '<annotation><size><width>62</width><height>45</height><depth>3</depth></size><object><name>dog</name>'
        f'<difficult>0</difficult><bndbox>{box}</bndbox></object></annotation>')
    (voc / 'ImageSets/Main/test.txt').write_text('000001\n')
    Image.fromarray(rng.integers(0, 256, (33, 66, 3), np.uint8)).save(
        cityscapes / 'leftImg8bit/val/a/a_leftImg8bit.png')
    Image.fromarray(rng.integers(0, 19, (33, 66), np.uint8)).save(
        cityscapes / 'gtFine/val/a/a_gtFine_labelTrainIds.png')
    torch.save({'params': SRResNet(num_feat=64, num_block=5, upscale=4).state_dict()},
               tmp_path / 'experiments/ra_srresnet_x4_resnet18/models/net_g_latest.pth')
    monkeypatch.chdir(tmp_path)


def first_item(name):
    config = Config.fromfile(str(ROOT / 'options' / 'mm' / f'{name}.py'))
    with DefaultScope.overwrite_default_scope(config.default_scope):
        return DATASETS.build(config.test_dataloader.dataset)[0]


@pytest.mark.slow
def test_restored_voc_keeps_the_grid_of_its_boxes(shipped_data):
    restored, clean = (first_item(name) for name in ('restore_faster_rcnn_r50_voc', 'faster_rcnn_r50_voc'))
    assert restored['inputs'].shape == clean['inputs'].shape == (3, 600, 827)
    assert not torch.equal(restored['inputs'], clean['inputs'])
    for key in ('ori_shape', 'img_shape', 'scale_factor'):
        assert restored['data_samples'].metainfo[key] == clean['data_samples'].metainfo[key]
    boxes = restored['data_samples'].gt_instances.bboxes
    torch.testing.assert_close(getattr(boxes, 'tensor', boxes), torch.tensor([[0., 1., 61., 44.]]))


@pytest.mark.slow
def test_restored_cityscapes_keeps_the_grid_of_its_masks(shipped_data):
    item = first_item('restore_fcn_hr48_cityscapes')
    assert item['inputs'].shape == (3, 1024, 2048)
    assert item['data_samples'].ori_shape == item['data_samples'].gt_sem_seg.shape == (33, 66)


def test_restoring_normalizes_and_says_which_sizes_a_network_takes(picture):
    class Window(torch.nn.Module):
        def forward(self, x):
            assert x.shape[-1] % 8 == 0 and x.shape[-2] % 8 == 0
            return x + 1

    restore = RestoreImage(mean=[0.5] * 3, std=[0.1] * 3)
    restore.network = Window()
    with pytest.raises(ValueError, match=r'^RestoreImage: the network does not take an image of \d+x\d+ pixels '
                                         r'\(AssertionError.*\)\. It takes certain sizes; with multiple_of: 8 in its'):
        restore(loaded(picture[:9, :14]))
    restore.multiple_of = 8
    found = restore(loaded(picture[:9, :14]))['img'][..., ::-1]
    np.testing.assert_allclose(found, np.minimum(picture[:9, :14] + 25.5, 255), atol=0.51)
    with pytest.raises(OptionError, match='RestoreImage: expected mean and std, or neither'):
        RestoreImage(mean=[0.5] * 3)
