"""tools/compare.py: finished runs on one validation set, judged by a segmenter; and the pictures it draws."""
import json

import mm_configs as small
import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from ra_plugin.archs import SRResNet
from ra_plugin.engine.comparison import compare_runs
from ra_plugin.evaluation.quality import psnr, to_uint8
from ra_plugin.evaluation.task_scores import SegmentationScore
from ra_plugin.options import OptionError
from ra_plugin.recognizers import build_recognizer
from ra_plugin.report.overlays import class_colors, draw_boxes, draw_mask
from ra_plugin.report.pictures import picture_grid

NETWORK = {'type': 'SRResNet', 'num_feat': 4, 'num_block': 1, 'upscale': 1}


@pytest.fixture
def runs(tmp_path):
    """Six images with masks, two untrained networks in the place of finished runs, and their option files."""
    rng = np.random.default_rng(0)
    for folder in ('images', 'masks'):
        (tmp_path / folder).mkdir()
    for i in range(6):
        size = (40, 48) if i % 2 else (32, 64)
        Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(tmp_path / 'images' / f'{i}.png')
        Image.fromarray(rng.integers(0, 3, size, np.uint8)).save(tmp_path / 'masks' / f'{i}.png')
    config = small.write_config(tmp_path / 'fcn.py', small.FCN, 'mmseg', classes=None)
    segmenter = {'type': 'MMSegRecognizer', 'config': config, 'pretrained': False, 'resize': None}
    files = {}
    for seed, name in enumerate(('plain', 'RA')):
        torch.manual_seed(seed)
        network = SRResNet(**{key: value for key, value in NETWORK.items() if key != 'type'})
        folder = tmp_path / 'experiments' / f'run_{name}' / 'models'
        folder.mkdir(parents=True)
        torch.save({'params': network.state_dict()}, folder / 'net_g_latest.pth')
        files[name] = tmp_path / f'{name}.yml'
        files[name].write_text(yaml.safe_dump({
            'name': f'run_{name}', 'scale': 1, 'network_g': NETWORK, 'path': {},
            'datasets': {'val': {'name': 'v', 'type': 'SegmentationDataset', 'dataroot_gt': str(tmp_path / 'images'),
                                 'dataroot_mask': str(tmp_path / 'masks'), 'classes': ['a', 'b', 'c'],
                                 'degradation': {'type': 'GaussianNoise', 'sigma': 0.1}}},
            'val': {'recognizers': {'fcn': segmenter}, 'recognition_metrics': {'segmentation': ['mIoU', 'aAcc']}}}))
    return files, segmenter


def test_scores_are_those_of_each_image(runs, tmp_path):
    files, segmenter = runs
    torch.manual_seed(5)  # the segmenter's weights are random: the same ones here and there
    results = compare_runs(tmp_path, files, 'fcn', tmp_path / 'out', 'the command')
    torch.manual_seed(5)
    recognizer = build_recognizer(segmenter)
    score, values = SegmentationScore(3), []
    network = SRResNet(**{key: value for key, value in NETWORK.items() if key != 'type'}).eval()
    network.load_state_dict(torch.load(tmp_path / 'experiments/run_RA/models/net_g_latest.pth')['params'])
    for i in range(6):
        gt = torch.from_numpy(np.array(Image.open(tmp_path / f'images/{i}.png'))).permute(2, 0, 1)
        noise = np.random.default_rng((0, i)).standard_normal((*gt.shape[1:], 3), np.float32)
        lq = (gt.permute(1, 2, 0).numpy() / np.float32(255) + np.float32(0.1) * noise).clip(0, 1)
        with torch.no_grad():
            restored = to_uint8(network(torch.from_numpy(lq).permute(2, 0, 1)[None]))
        values.append(psnr(restored[0], gt).item())
        label = torch.from_numpy(np.array(Image.open(tmp_path / f'masks/{i}.png'))).long()
        score.update(recognizer.predict(restored.float() / 255), label[None])
    entry = results['processings']['RA']
    assert entry['psnr'] == pytest.approx(np.mean(values), abs=1e-3)
    for name, value in score.compute().items():
        assert entry['scores'][f'fcn {name}']['value'] == pytest.approx(value, abs=2e-3)
    assert set(results['differences_to_plain']) == {'RA'}
    assert json.loads((tmp_path / 'out/results.json').read_text())['command'] == 'the command'
    table = (tmp_path / 'out/table.md').read_text()
    assert 'fcn (used) mIoU' in table and 'on 6 images' in table
    with Image.open(tmp_path / 'out/images.png') as picture:
        assert picture.size[0] > 5 * 48


def test_plain_and_source_are_needed(runs, tmp_path):
    files, _ = runs
    for named, source in (({'RA': files['RA']}, 'fcn'), (files, 'hrnet')):
        with pytest.raises(OptionError, match=r"expected a run called 'plain' and a source of val.recognizers \(fcn\)"):
            compare_runs(tmp_path, named, source, tmp_path / 'out', '')
    (tmp_path / 'experiments/run_RA/models/net_g_latest.pth').unlink()
    with pytest.raises(FileNotFoundError, match='run_RA: no checkpoint'):
        compare_runs(tmp_path, files, 'fcn', tmp_path / 'out', '')


def test_mask_is_blended_and_void_is_not():
    image = np.full((2, 2, 3), 100, np.uint8)
    drawn = draw_mask(image, np.array([[0, 1], [255, 1]]), 2)
    expected = 100 + 0.55 * (class_colors(2).astype(float) - 100)
    assert np.abs(drawn[0, 0] - expected[0]).max() <= 0.5 and np.abs(drawn[1, 1] - expected[1]).max() <= 0.5
    assert (drawn[1, 0] == 100).all() and (image == 100).all()


def test_boxes_above_the_score_are_drawn_in_their_class_s_color():
    image = np.zeros((40, 40, 3), np.uint8)
    objects = {'boxes': torch.tensor([[5., 5, 20, 20], [25, 25, 35, 35]]), 'labels': torch.tensor([1, 0]),
               'scores': torch.tensor([0.9, 0.1])}
    drawn = draw_boxes(image, objects, None, 3)
    assert (drawn[20, 12] == class_colors(3)[1]).all() and not drawn[25:36, 25:36].any()
    assert len({tuple(color) for color in class_colors(20).tolist()}) == 20


def test_grid_keeps_the_shape_of_photographs(tmp_path):
    wide, high = np.full((10, 20, 3), (200, 7, 9), np.uint8), np.full((20, 10, 3), (7, 200, 9), np.uint8)
    picture_grid({'a': [wide, high], 'b': [wide, high]}, {}, ['0', '1'], '', tmp_path / 'x.png', side=40)
    pixels = np.array(Image.open(tmp_path / 'x.png'))
    assert (pixels == wide[0, 0]).all(2).sum() == 2 * 40 * 20 and (pixels == high[0, 0]).all(2).sum() == 2 * 40 * 80
