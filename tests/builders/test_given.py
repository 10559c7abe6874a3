"""Labels without clean images, clean images without labels: what is judged then, by all tasks, in both programs."""
import copy
import json
import re
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from basicsr.models import build_model
from basicsr.utils import get_root_logger
from PIL import Image
from runs import make_images
from test_evaluation_run import build, recognizer
from test_recog_aware_model import RECOG, RECOGNIZER, Items, options

from ra_plugin.archs import SRResNet
from ra_plugin.builders.given import check_judges, check_metrics_given
from ra_plugin.data import DetectionDataset, LabeledImageDataset, SegmentationDataset, UnlabeledImageDataset
from ra_plugin.data.given import Given, given_by
from ra_plugin.evaluation.judging import CLEAN, NONE, Judging, clean, no_processing
from ra_plugin.evaluation.run import same_size_batches
from ra_plugin.evaluation.write_report import evaluate
from ra_plugin.options import OptionError, build_block
from ra_plugin.paper.changed_images import figure
from ra_plugin.recognizers import RecognizerInfo, build_recognizer

NOISE = {'type': 'GaussianNoise', 'sigma': 0.1}
NETWORK = {'type': 'SRResNet', 'num_feat': 4, 'num_block': 1, 'upscale': 1}


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    """Images in class folders, and two networks."""
    root = tmp_path_factory.mktemp('given')
    make_images(root / 'images', per_class=2, size=32)
    for seed, name in enumerate('ab'):
        torch.manual_seed(seed)
        torch.save({'params': SRResNet(num_feat=4, num_block=1, upscale=1).state_dict()}, root / f'net_g_{name}.pth')
    return root


def evaluated(place, tmp_path, dataset, **changes):
    opt = {'name': 'small', 'audit': 6, 'datasets': {'d': dataset},
           'restorers': {name: {'network_g': NETWORK, 'checkpoint': str(place / f'net_g_{name}.pth')} for name in 'ab'},
           'recognizers': {'vgg': recognizer('TinyVGG'), 'resnet': recognizer('TinyResNet')}, **changes}
    (tmp_path / 'opt.yml').write_text(yaml.safe_dump(opt, sort_keys=False))
    evaluation = build(place, tmp_path / 'opt.yml')
    return evaluation, evaluate(evaluation, tmp_path / 'out', 8).to_json()


def strict(path):
    """JSON without NaN and Infinity, which it does not have."""
    def refuse(word):
        raise ValueError(word)

    return json.loads(path.read_text(), parse_constant=refuse)


@pytest.mark.slow
def test_labels_without_clean_images_are_judged_as_they_are_with_them(place, tmp_path):
    block = {'type': 'LabeledImageDataset', 'dataroot_lq': str(place / 'images')}
    evaluation, results = evaluated(place, tmp_path, block)
    found = strict(tmp_path / 'out' / 'results.json')['conditions']['d']
    assert found['given'] == {'labels': True, 'clean': False} and evaluation.conditions[0].given == Given(True, False)
    assert list(found['processings']) == ['no processing', 'a', 'b'] and results['baseline'] == NONE
    (tmp_path / 'with').mkdir()
    with_clean = evaluated(place, tmp_path / 'with', {  # the images themselves stand in for clean ones
        'type': 'LabeledImageDataset', 'dataroot_gt': str(place / 'images')})[1]['conditions']['d']
    for name, entry in found['processings'].items():
        assert entry['scores'] == with_clean['processings'][name]['scores'] and not {'psnr', 'ssim'} & set(entry)
    assert found['harm'] == with_clean['harm']
    for entry in found['differences'].values():
        assert all(score['top1']['gap'] is score['top1']['gap_recovered'] is None for score in entry['scores'].values())
    assert not {'audit', 'clean_input'} & set(found) and 'audit' in with_clean
    said = (tmp_path / 'out' / 'tables.md').read_text()
    assert 'These images have no clean versions' in said and 'PSNR |' not in said and 'gap recovered:' not in said
    assert 'no clean versions' in (tmp_path / 'out' / 'report.html').read_text()
    with pytest.raises(OptionError, match='images of a figure: needs clean images, and the data set of d gives none'):
        figure(evaluation, {'d': None}, 1)


@pytest.mark.slow
def test_basicsrs_own_data_set_of_degraded_images_is_judged_once_it_has_labels(place, tmp_path):
    labels = {f'{label}{i}.png': label for label in 'abcdefghij' for i in range(2)}
    (tmp_path / 'flat').mkdir()
    for name, label in labels.items():
        shutil.copy(place / 'images' / label / name, tmp_path / 'flat' / name)
    (tmp_path / 'labels.json').write_text(json.dumps(labels))
    flat = {'type': 'SingleImageDataset', 'dataroot_lq': str(tmp_path / 'flat'), 'io_backend': {'type': 'disk'},
            'labels': str(tmp_path / 'labels.json')}
    folders = {'type': 'LabeledImageDataset', 'dataroot_lq': str(place / 'images')}
    found = evaluated(place, tmp_path, {}, datasets={'flat': flat, 'folders': folders})[1]['conditions']
    assert found['flat']['processings'] == found['folders']['processings'] and found['flat']['given']['labels']


@pytest.mark.slow
def test_clean_images_without_labels_are_judged_by_the_answers_to_them(place, tmp_path):
    block = {'type': 'UnlabeledImageDataset', 'dataroot_gt': str(place / 'images'),
             'degradation': {'type': 'BicubicDownsample', 'scale': 8}}
    up = {'type': 'Interpolation', 'upscale': 8}
    evaluation, results = evaluated(place, tmp_path, block, restorers={'a': {'network_g': up}})
    found = strict(tmp_path / 'out' / 'results.json')['conditions']['d']
    assert found['given'] == {'labels': False, 'clean': True} and 'harm' not in found and not found['chance']
    assert results['recognition_metrics']['kl'] == {'better': 'lower', 'unit': 'nats', 'against': 'clean answers'}
    same, divergence = [], []
    vgg, dataset = evaluation.recognizers['vgg'], evaluation.conditions[0].dataset
    network = evaluation.restorers['a'].processings[0].fitted.network
    with torch.no_grad():
        for item in dataset:
            restored, gt = ((image.clamp(0, 1) * 255).round() / 255 for image in (network(item['lq'][None]),
                                                                                  item['gt'][None]))
            p, q = (vgg.logits(image).double().softmax(1) for image in (gt, restored))
            same.append(p.argmax().item() == q.argmax().item())
            divergence.append((p * (p / q).log()).sum().item())
    scores = found['processings']['a']['scores']['vgg']
    assert scores['top1_agreement']['value'] == np.mean(same)
    assert scores['kl']['value'] == pytest.approx(np.mean(divergence), rel=1e-4)
    assert {name: found['processings']['clean']['scores']['vgg'][name]['value'] for name in scores} == {
        'top1_agreement': 1, 'kl': 0}
    before = found['processings']['no processing']['scores']['vgg']
    change = found['differences']['a']['scores']['vgg']
    assert change['top1_agreement']['gap'] == pytest.approx(1 - before['top1_agreement']['value'])
    assert change['kl']['gap'] == pytest.approx(-before['kl']['value'])
    assert change['kl']['gap_recovered']['value'] == pytest.approx(1 - scores['kl']['value'] / before['kl']['value'])
    assert change['top1_agreement']['mcnemar_p'] and change['kl']['mcnemar_p'] is None
    assert found['audit']['n'] == found['clean_input']['n'] == 6
    said = (tmp_path / 'out' / 'tables.md').read_text()
    assert 'have no labels: scores say how far recognizers agree with their own answers' in said
    assert 'accuracy' not in said and 'read right' not in said
    page = (tmp_path / 'out' / 'report.html').read_text()
    assert 'read wrong.' not in page.replace('\n', ' ')


@pytest.mark.slow
def test_a_metric_that_the_images_do_not_allow_is_told(place, tmp_path, capsys):
    block = {'type': 'UnlabeledImageDataset', 'dataroot_gt': str(place / 'images'), 'degradation': NOISE}
    metrics = {'classification': ['top1', 'top1_agreement']}
    _, results = evaluated(place, tmp_path, block, recognition_metrics=metrics, audit=0)
    assert 'datasets: d: top1 of vgg cannot be computed without labels; top1_agreement can.' in capsys.readouterr().err
    assert list(results['conditions']['d']['processings']['a']['scores']['vgg']) == ['top1_agreement']


@pytest.mark.slow
def test_agreement_stands_beside_accuracy_where_it_is_asked_for(place, tmp_path):
    block = {'type': 'LabeledImageDataset', 'dataroot_gt': str(place / 'images'), 'degradation': NOISE}
    metrics = {'classification': ['top1', 'top1_agreement', 'kl']}
    _, results = evaluated(place, tmp_path, block, recognition_metrics=metrics, baseline='a', audit=4)
    found = results['conditions']['d']
    assert list(found['processings']['b']['scores']['vgg']) == ['top1', 'top1_agreement', 'kl']
    assert {name: facts['against'] for name, facts in results['recognition_metrics'].items()} == {
        'top1': 'labels', 'top1_agreement': 'clean answers', 'kl': 'clean answers'}
    assert 'vgg top1_agreement' in (tmp_path / 'out' / 'tables.md').read_text()
    gains = found['audit']['restorers']['b']['gains']['vgg']['8 bit']  # by the first metric of which more is better
    assert set(gains) == {'value', 'low', 'high'}


@pytest.mark.slow
def test_neither_is_one_line(place, tmp_path):
    for block in ({'type': 'UnlabeledImageDataset', 'dataroot_lq': str(place / 'images')},
                  {'type': 'SingleImageDataset', 'dataroot_lq': str(place / 'images'), 'io_backend': {'type': 'disk'}}):
        with pytest.raises(OptionError, match='datasets: d: evaluation needs labels or clean images, but .* neither'):
            evaluated(place, tmp_path, block)
    with pytest.raises(OptionError, match='vgg|TinyVGG'):
        evaluated(place, tmp_path, {'type': 'LabeledImageDataset', 'dataroot_lq': str(place / 'images')},
                  recognition_metrics={'classification': 'kl'})


@pytest.mark.slow
def test_the_baseline_is_plain_if_it_is_there_and_else_no_processing(place, tmp_path):
    block = {'type': 'LabeledImageDataset', 'dataroot_gt': str(place / 'images'), 'degradation': NOISE}
    _, results = evaluated(place, tmp_path, block, audit=0)
    found = results['conditions']['d']
    assert results['baseline'] == NONE and list(found['differences']) == ['a', 'b']
    assert found['differences_from_no_processing'] == {} and list(found['pairs']) == ['b']
    top1 = [found['processings'][name]['scores']['vgg']['top1']['value'] for name in 'ab']
    assert found['pairs']['b']['a']['scores']['vgg']['top1']['value'] == pytest.approx(top1[1] - top1[0])
    said = (tmp_path / 'out' / 'tables.md').read_text()
    assert '| b - a ' in said and 'Restorers against each other' in (tmp_path / 'out' / 'report.html').read_text()
    networks = {name: {'network_g': NETWORK, 'checkpoint': str(place / f'net_g_{file}.pth')}
                for name, file in (('plain', 'a'), ('RA', 'b'))}
    (tmp_path / 'plain').mkdir()
    _, again = evaluated(place, tmp_path / 'plain', block, audit=0, restorers=networks)
    assert again['baseline'] == 'plain' and list(again['conditions']['d']['differences']) == ['RA']
    against_none = again['conditions']['d']['differences_from_no_processing']
    assert list(against_none) == ['plain', 'RA'] and again['conditions']['d']['pairs'] == {}
    assert against_none['RA']['scores'] == found['differences']['b']['scores']
    assert 'minus no processing' in (tmp_path / 'plain' / 'out' / 'tables.md').read_text()


# ------------------------------------------------------------------------------------------------ boxes and masks
@pytest.fixture
def marked(tmp_path):
    """Two images of different sizes with a box and a mask each."""
    for folder in ('JPEGImages', 'Annotations', 'ImageSets/Main', 'masks'):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / 'ImageSets/Main/val.txt').write_text('0\n1')
    for i, (width, height) in enumerate([(20, 16), (12, 24)]):
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (height, width, 3), np.uint8)).save(
            tmp_path / f'JPEGImages/{i}.png')
        (tmp_path / f'Annotations/{i}.xml').write_text(
            '<annotation><object><name>car</name><bndbox><xmin>3</xmin><ymin>2</ymin><xmax>9</xmax><ymax>12</ymax>'
            '</bndbox></object></annotation>')
        mask = np.zeros((height, width), np.uint8)
        mask[2:12, 2:9] = 1
        Image.fromarray(mask).save(tmp_path / f'masks/{i}.png')
    return tmp_path


def spatial(root, task, key, **more):
    if task == 'detection':
        return DetectionDataset({'phase': 'test', 'name': 'd', key: str(root), 'split': 'val', 'classes': ['car'],
                                 **more})
    return SegmentationDataset({'phase': 'test', 'name': 'd', key: str(root / 'JPEGImages'), 'num_classes': 2,
                                'dataroot_mask': str(root / 'masks'), **more})


@pytest.mark.parametrize('task', ['detection', 'segmentation'])
def test_labels_with_a_place_lie_on_the_grid_of_the_restored_image(marked, task):
    small, large = (spatial(marked, task, 'dataroot_lq', scale=scale) for scale in (None, 3))
    with_clean = spatial(marked, task, 'dataroot_gt')
    for before, after, whole in zip(small, large, with_clean, strict=True):
        assert torch.equal(before['lq'], whole['gt']) and torch.equal(after['lq'], whole['gt']) and 'gt' not in before
        if task == 'detection':
            assert torch.equal(before['label']['boxes'], whole['label']['boxes'])
            assert torch.equal(after['label']['boxes'], 3 * whole['label']['boxes'])
            assert after['label']['size'] == tuple(3 * side for side in whole['label']['size'])
        else:
            assert torch.equal(after['label'][1::3, 1::3], whole['label'])
            assert torch.equal(before['label'], whole['label'])
    batch = large.collate_fn(list(large))
    assert batch['size'] == [(48, 60), (72, 36)] and batch['lq'].shape[-2:] == (24, 20) and 'gt' not in batch
    assert given_by(large, 'x') == Given(labels=True, clean=False)


def fake(task, name='r'):
    """A recognizer that answers by the brightness of the upper left corner."""
    def predict(images):
        bright = [image[:, :4, :4].mean().item() for image in images]
        if task == 'segmentation':
            return {'masks': torch.stack([(image.mean(0) > 0.5).long() for image in images])}
        return [{'boxes': torch.tensor([[2., 1, 9, 12], [0, 0, 4, 4]]), 'labels': torch.tensor([0, 0]),
                 'scores': torch.tensor([0.9, value])} for value in bright]

    info = RecognizerInfo(name, task, num_classes=2)
    return SimpleNamespace(info=info, predict=predict, costly=False)


@pytest.mark.parametrize('task', ['detection', 'segmentation'])
@pytest.mark.parametrize('labels', [True, False], ids=['labels', 'clean'])
def test_detectors_and_segmenters_are_judged_by_one_of_the_two(marked, task, labels):
    data = spatial(marked, task, 'dataroot_lq') if labels else UnlabeledImageDataset(
        {'phase': 'test', 'dataroot_gt': str(marked / 'JPEGImages'), 'degradation': NOISE})
    condition = SimpleNamespace(dataset=data, block=dict(data.opt))
    processings = {(NONE, 0): no_processing, ('dark', 0): lambda batch: 0.2 * no_processing(batch)}
    if not labels:
        processings[CLEAN, 0] = clean
    judging = Judging(processings=processings, recognizers={'r': fake(task)}, metrics={}, baseline=NONE)
    batches = same_size_batches(list(enumerate(data)), condition, torch.device('cpu'))
    assert [batch.gt is None for batch in batches] == [labels, labels] and batches[0].names[0].endswith('0.png')
    names = set()
    for batch in batches:
        for key, column in judging(batch).items():
            assert ('psnr' in column.values) == (not labels and key[0] != CLEAN)
            score = judging.score(judging.recognizers['r'], batch)
            score.add_records(column.scores['r'])
            names |= set(score.names)
            if key[0] == CLEAN:
                assert list(score.compute().values()) == [1]
            assert all(0 <= value <= 1 for value in score.compute().values())
    assert names == {('detection', True): {'voc12_mAP'}, ('segmentation', True): {'mIoU', 'aAcc'},
                     ('detection', False): {'box_agreement'}, ('segmentation', False): {'miou_agreement'}}[task, labels]


def test_restored_images_of_another_size_than_the_scale_says_are_refused(marked):
    data = spatial(marked, 'detection', 'dataroot_lq', scale=2)
    batch = same_size_batches([(0, data[0])], SimpleNamespace(dataset=data, block=dict(data.opt)), 'cpu')[0]
    assert no_processing(batch).shape[-2:] == batch.size == (32, 40)
    judging = Judging(processings={('x', 0): lambda batch: batch.lq}, recognizers={}, metrics={}, baseline='x')
    with pytest.raises(ValueError, match="x: expected restored images of 2 times the size of theirs.*network's: scale"):
        judging(batch)


@pytest.mark.parametrize('changes, message', [
    ({'dataroot_gt': '.'}, r'datasets\.val\.dataroot_gt: not allowed with dataroot_lq, whose images are already degr'),
    ({'degradation': NOISE}, r'datasets\.val\.degradation: not allowed with dataroot_lq'),
    ({'phase': 'train'}, r'datasets\.val\.dataroot_lq: training needs clean images')])
def test_what_cannot_go_with_images_without_clean_versions(changes, message):
    with pytest.raises(OptionError, match=message):
        build_block(LabeledImageDataset.options_type, {'phase': 'val', 'dataroot_lq': '.', **changes}, 'datasets.val')


# ------------------------------------------------------------------------------------------------------ validation
def items(*without):
    data = Items()
    data.items = [{key: value for key, value in item.items() if key not in without} for item in data.items]
    return data


def validated(tmp_path, data, **val):
    opt = options(tmp_path, recog_opt=RECOG)
    opt['val'] = {'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 0}},
                  'recognizers': {'small': RECOGNIZER}, **val}
    torch.manual_seed(0)
    model = build_model(copy.deepcopy(opt))
    model.validation(torch.utils.data.DataLoader(data, 4), 5, None, save_img=False)
    return model


def test_validation_without_clean_images_has_the_scores_and_no_psnr(tmp_path):
    whole = validated(tmp_path, items()).metric_results
    found = validated(tmp_path, items('gt', 'gt_path')).metric_results
    assert found == {name: value for name, value in whole.items() if name != 'psnr'} and 'psnr' in whole


def test_validation_without_labels_compares_with_the_answers_to_clean_images(tmp_path):
    model = validated(tmp_path, items('label'))
    judge, same, divergence = build_recognizer(RECOGNIZER), [], []
    model.net_g.eval()
    with torch.no_grad():
        for item in items().items:
            restored, gt = ((image.clamp(0, 1) * 255).round() / 255 for image in (model.net_g(item['lq'][None]),
                                                                                  item['gt'][None]))
            p, q = (judge.logits(image).double().softmax(1) for image in (gt, restored))
            same.append(p.argmax().item() == q.argmax().item())
            divergence.append((p * (p / q).log()).sum().item())
    found = model.metric_results
    assert set(found) == {'psnr', 'top1_agreement_small', 'kl_small'}
    assert found['top1_agreement_small'] == pytest.approx(np.mean(same))
    assert found['kl_small'] == pytest.approx(np.mean(divergence), rel=1e-4)
    best = model.best_metric_results['items']
    assert best['kl_small']['better'] == 'lower' and best['kl_small']['val'] == found['kl_small']
    both = validated(tmp_path, items(), recognition_metrics={'classification': ['top1', 'kl']}).metric_results
    assert set(both) == {'psnr', 'top1_small', 'kl_small'} and both['kl_small'] == pytest.approx(found['kl_small'])


def test_validation_warns_once_of_who_answers_the_same_to_all_clean_images(tmp_path, monkeypatch):
    model, warned = validated(tmp_path, items('label')), []
    monkeypatch.setattr(get_root_logger(), 'warning', warned.append)
    model.validation(torch.utils.data.DataLoader(items('label'), 4), 5, None, save_img=False)
    assert not warned
    judge = model.eval_recognizers['small']
    usual = judge.predict

    def constant(images):
        found = usual(images)
        return {**found, 'labels': torch.zeros_like(found['labels'])}

    monkeypatch.setattr(judge, 'predict', constant)
    for iteration in (6, 7):
        model.validation(torch.utils.data.DataLoader(items('label'), 4), iteration, None, save_img=False)
    assert model.metric_results['top1_agreement_small'] == 1
    assert len(warned) == 1 and re.match(r'items: small answers \w+ on 100\.0 % of the clean images: agreement with it '
                                         'tells little', warned[0])


@pytest.mark.slow
def test_psnr_of_a_validation_is_over_the_images_that_have_one(tmp_path, caplog):
    whole = validated(tmp_path, items())
    model, data = validated(tmp_path, items()), items()
    with torch.no_grad():
        data.items[2]['gt'] = (model.net_g.eval()(data.items[2]['lq'][None])[0].clamp(0, 1) * 255).round() / 255
    model.validation(torch.utils.data.DataLoader(data, 1), 6, None, save_img=False)
    others = items()
    del others.items[2]
    whole.validation(torch.utils.data.DataLoader(others, 1), 6, None, save_img=False)
    assert model.metric_results['psnr'] == pytest.approx(whole.metric_results['psnr'])


@pytest.mark.slow
def test_metrics_and_judges_without_what_they_need_are_refused_before_a_run(tmp_path):
    single = {'type': 'SingleImageDataset', 'name': 's', 'dataroot_lq': '.', 'labels': 'folders'}
    paired = {'type': 'PairedImageDataset', 'name': 'p', 'dataroot_lq': '.', 'dataroot_gt': '.'}
    opt = {'val': {'metrics': {'niqe': {'type': 'calculate_niqe'}, 'psnr': {'type': 'calculate_psnr'}}}}
    with pytest.raises(OptionError, match=r'val\.metrics\.psnr: it compares with clean images, and datasets\.val'):
        check_metrics_given({**opt, 'datasets': {'train': paired, 'val': single}})
    said = []
    check_metrics_given({**opt, 'datasets': {'val_1': single, 'val_2': paired}}, SimpleNamespace(warning=said.append))
    assert len(said) == 1 and re.search('psnr compare.*none of datasets.val_1', said[0])
    check_metrics_given({'val': {'metrics': {'niqe': {'type': 'calculate_niqe'}}}, 'datasets': {'val': single}})
    judge = SimpleNamespace(info=RecognizerInfo('r', 'classification', num_classes=3))
    check_judges({}, [items('gt'), items('label')], {'r': judge})
    with pytest.raises(OptionError, match='evaluation needs labels or clean images, but Items has neither'):
        check_judges({}, [items('gt', 'label')], {'r': judge})
    metrics = {'val': {'recognition_metrics': {'classification': 'top1_agreement'}}}
    with pytest.raises(OptionError, match='r: top1_agreement cannot be computed from labels'):
        check_judges(metrics, [items('gt')], {'r': judge})


def test_looking_at_a_data_set_leaves_it_and_the_random_streams_as_they_were(place):
    from basicsr.data import build_dataset
    names = sorted(path.name for path in (place / 'images' / 'a').iterdir())
    block = {'type': 'SingleImageDataset', 'name': 's', 'phase': 'val', 'dataroot_lq': str(place / 'images' / 'a'),
             'io_backend': {'type': 'disk'}}
    dataset, state = build_dataset(block), torch.get_rng_state()
    dataset.paths = [str(place / 'images' / 'a' / name) for name in names]
    with pytest.raises(OptionError, match='neither'):
        given_by(dataset, 'x')
    assert dataset.file_client is None and dataset.io_backend_opt == {'type': 'disk'}
    assert torch.equal(torch.get_rng_state(), state)
