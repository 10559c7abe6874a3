"""RecogAwareModel and evaluation with detectors and segmenters, against hand-written steps on single images."""
import copy
import logging
from types import SimpleNamespace

import mm_configs as small
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from basicsr.archs import build_network
from basicsr.models import build_model
from PIL import Image

from ra_plugin.builders.file_check import check_file
from ra_plugin.data import DetectionDataset, SegmentationDataset
from ra_plugin.evaluation.judging import Batch, Judging, clean, judge_all
from ra_plugin.evaluation.records import Records
from ra_plugin.evaluation.run import same_size_batches
from ra_plugin.evaluation.statistics.perturbations import SAVED
from ra_plugin.evaluation.statistics.transfer import Matrix, judged_processing, summary
from ra_plugin.metrics.psnr_ssim import to_uint8
from ra_plugin.metrics.task_scores import DetectionScore, SegmentationScore
from ra_plugin.options import OptionError
from ra_plugin.recognizers import build_recognizer
from ra_plugin.report.markdown import to_markdown
from ra_plugin.results import SCHEMA, RestorerFacts, Results, to_plain
from ra_plugin.training.pipeline import _check_recognizers

pytestmark = pytest.mark.mm

NETWORK_G = {'type': 'SRResNet', 'num_feat': 8, 'num_block': 1, 'upscale': 2}
NETWORK_T = {'type': 'ResnetGenerator', 'num_feat': 4, 'num_block': 1}
DEGRADATION = {'type': 'BicubicDownsample', 'scale': 2}
METRICS = {'detection': ['voc12', 'coco'], 'segmentation': ['mIoU', 'aAcc']}
SIZES = {'equal': [(48, 64)] * 5, 'different': [(48, 64), (65, 50), (56, 40), (40, 72), (64, 64)]}  # height, width
TASKS = pytest.mark.parametrize('task', ['detection', 'segmentation'])


@pytest.fixture(scope='module')
def blocks(tmp_path_factory):
    """Return, by task, options of a small recognizer with different outputs per position; equal in each build."""
    root, found = tmp_path_factory.mktemp('recognizers'), {}
    for task, kind, model, library in (('detection', 'MMDetRecognizer', small.FASTER_RCNN, 'mmdet'),
                                       ('segmentation', 'MMSegRecognizer', small.FCN, 'mmseg')):
        config = small.write_config(root / f'{task}.py', model, library, classes=small.CLASSES)
        torch.manual_seed(3)
        recognizer = build_recognizer({'type': kind, 'config': config, 'pretrained': False}, fold_batch_norm=False)
        with torch.no_grad():
            for parameter in recognizer.model.parameters():
                if parameter.dim() == 4:
                    parameter.mul_(1.5)
        checkpoint = str(root / f'{task}.pth')
        torch.save({'state_dict': recognizer.model.state_dict()}, checkpoint)
        found[task] = {'type': kind, 'config': config, 'checkpoint': checkpoint, 'resize': None}
    return found


def options(tmp_path, **train):
    paths = {key: str(tmp_path / key) for key in ('models', 'training_states', 'visualization')}
    return {
        'name': 'test', 'model_type': 'RecogAwareModel', 'base_model_type': 'SRModel', 'num_gpu': 0, 'dist': False,
        'rank': 0, 'world_size': 1, 'is_train': True, 'scale': 2, 'network_g': dict(NETWORK_G), 'path': paths,
        'val': {'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 0}}},
        'train': {'optim_g': {'type': 'Adam', 'lr': 1e-3},
                  'scheduler': {'type': 'MultiStepLR', 'milestones': [9], 'gamma': 0.1},
                  'pixel_opt': {'type': 'MSELoss', 'loss_weight': 1.0, 'reduction': 'mean'}, **train},
    }


def build(opt):
    torch.manual_seed(0)
    return build_model(copy.deepcopy(opt))


def supervised(block):
    return {'type': 'RecogLoss', 'loss_weight': 0.1, 'recognizer': block}


def unsupervised(block):
    return {'type': 'RecogConsistencyLoss', 'distance': 'probability', 'loss_weight': 0.3, 'recognizer': block}


# ---------------------------------------------------------------------------------------------------- training
def objects(labels=(0, 2), size=(32, 48)):
    """Return the boxes of one image, the last of which is ignored."""
    boxes = torch.tensor([[4., 6, 24, 30], [20, 2, 44, 20], [8, 8, 16, 16]])[:len(labels)]
    return {'boxes': boxes, 'labels': torch.tensor(labels), 'ignore': torch.arange(len(labels)) == 2, 'size': size,
            'image_id': 'a'}


def batches(task, count=2):
    """Return batches of two images; for a detector the second one is smaller than the batch."""
    generator, found = torch.Generator().manual_seed(1), []
    for _ in range(count):
        gt = F.interpolate(torch.rand(2, 3, 8, 12, generator=generator), (32, 48), mode='bicubic').clamp(0, 1)
        label = [objects((0, 2, 1)), objects((1,), (32, 40))]
        if task == 'segmentation':
            label = torch.randint(3, (2, 32, 48), generator=generator)
            label[:, :4] = 255
        found.append({'lq': F.interpolate(gt, (16, 24), mode='bicubic', antialias=True).clamp(0, 1), 'gt': gt,
                      'label': label, 'lq_path': ['0.png', '1.png'], 'gt_path': ['0.png', '1.png']})
    return found


def train(model, data):
    for i, batch in enumerate(data, 1):
        model.update_learning_rate(i)
        model.feed_data(batch)
        model.optimize_parameters(i)


def consistency(recognizer, output, gt):
    """Eq. 4: squared difference of probabilities, and of numbers where there are some."""
    with torch.no_grad():
        reference = recognizer.outputs(gt)
    answers = recognizer.outputs(output, reference)
    values = (answers['logits'].softmax(1) - reference['logits'].softmax(1)).square().flatten(1).mean(1)
    if 'regression' in answers:
        values = values + (answers['regression'] - reference['regression']).square().flatten(1).mean(1)
    return values.mean()


@pytest.mark.slow
@TASKS
@pytest.mark.parametrize('recog_opt', [supervised, unsupervised])
def test_training_equals_hand_written_steps_bit_for_bit(tmp_path, blocks, task, recog_opt):
    model = build(options(tmp_path, recog_opt=recog_opt(blocks[task])))
    recognizer = build_recognizer(blocks[task]).to(memory_format=torch.channels_last)
    torch.manual_seed(0)
    net = build_network(dict(NETWORK_G)).train()
    random_state = torch.get_rng_state()
    train(model, batches(task))
    assert torch.equal(random_state, torch.get_rng_state())

    adam = torch.optim.Adam(net.parameters(), 1e-3)
    for batch in batches(task):
        output = net(batch['lq'])
        if recog_opt is supervised:
            extra = 0.1 * sum(recognizer.loss(output, batch['label']).values())
        else:
            extra = 0.3 * consistency(recognizer, output, batch['gt'])
        assert torch.autograd.grad(extra, output, retain_graph=True)[0].any()
        adam.zero_grad()
        (F.mse_loss(output, batch['gt']) + extra).backward()
        adam.step()
    for ours, theirs in zip(model.net_g.parameters(), net.parameters(), strict=True):
        assert torch.equal(ours.grad, theirs.grad)
        assert torch.equal(ours, theirs)
    assert model.get_current_log()['l_recog'] == pytest.approx(extra.item(), rel=1e-6)


@TASKS
@pytest.mark.parametrize('recog_opt', [supervised, unsupervised])
def test_the_padding_of_a_batch_reaches_no_recognizer(tmp_path, blocks, task, recog_opt):
    """With the sizes of a data set, the loss is the mean over the images without padding."""
    model = build(options(tmp_path, recog_opt=recog_opt(blocks[task])))
    batch = {**batches(task, 1)[0], 'size': [(32, 48), (24, 40)]}
    if task == 'detection':
        batch['label'] = [objects((0, 2)), objects((1,), (24, 40))]
    model.feed_data(batch)
    with torch.no_grad():
        output = model.net_g(model.lq)
        both, _ = model.recognition_loss(output)
        alone = []
        for i, (height, width) in enumerate(batch['size']):
            part = {key: value[i:i + 1] for key, value in batch.items()}
            part['gt'] = part['gt'][..., :height, :width]
            if task == 'segmentation':
                part['label'] = part['label'][:, :height, :width]
            model.feed_data(part)
            alone.append(model.recognition_loss(output[i:i + 1, :, :height, :width])[0])
    assert both.item() == pytest.approx(sum(alone).item() / 2, rel=1e-5)
    assert (alone[0] / alone[1] - 1).abs() > 1e-3  # else either could be both
    model.feed_data({**batch, 'size': [(32, 48)] * 2})
    assert model.sizes is None


@pytest.mark.parametrize('recog_opt', [supervised, unsupervised])
def test_clean_images_off_the_scale_end_the_first_step_whatever_the_loss(tmp_path, blocks, recog_opt):
    model = build(options(tmp_path, recog_opt=recog_opt(blocks['segmentation'])))
    batch = batches('segmentation', 1)[0]
    with torch.no_grad():  # what a network gives that has not learned is its own affair
        model.net_g.tail.weight.mul_(0)
    model.feed_data({**batch, 'gt': batch['gt'] * 255})
    with pytest.raises(ValueError, match=r'^train.recog_opt: expected gt in \[0, 1\], got \[0.00, 25'):
        model.optimize_parameters(1)
    model.feed_data(batch)
    model.optimize_parameters(1)
    assert not any(cri.check_range for cri in model.cri_recog)


@pytest.mark.slow
@TASKS
def test_transformer_learns_from_the_recognizer_and_the_restorer_does_not_notice(tmp_path, blocks, task):
    opt = options(tmp_path, recog_opt=supervised(blocks[task]), optim_t={'type': 'SGD', 'lr': 0.5})
    opt['network_t'] = dict(NETWORK_T)
    model = build(opt)
    net_g, net_t = copy.deepcopy(model.net_g), copy.deepcopy(model.net_t)
    train(model, batches(task))

    recognizer = build_recognizer(blocks[task]).to(memory_format=torch.channels_last)
    adam, sgd = torch.optim.Adam(net_g.parameters(), 1e-3), torch.optim.SGD(net_t.parameters(), 0.5)
    for batch in batches(task):
        output = net_g(batch['lq'])
        adam.zero_grad()
        F.mse_loss(output, batch['gt']).backward()
        adam.step()
        loss = 0.1 * sum(recognizer.loss(net_t(output.detach()), batch['label']).values())
        sgd.zero_grad()
        loss.backward()
        sgd.step()
    for ours, theirs in ((model.net_g, net_g), (model.net_t, net_t)):
        assert all(torch.equal(value, theirs.state_dict()[key]) for key, value in ours.state_dict().items())
    assert model.get_current_log()['l_recog'] == pytest.approx(loss.item(), rel=1e-6)


@TASKS
def test_labels_reach_the_device(tmp_path, blocks, task):
    model = build(options(tmp_path, recog_opt=supervised(blocks[task])))
    batch = batches(task, 1)[0]
    model.device = torch.device('meta')
    model.feed_data(batch)
    if task == 'segmentation':
        assert model.label.device.type == 'meta'
        return
    assert model.label is batch['label']  # boxes are chosen where they are, then those that count are copied
    recognizer = model.cri_recog[0].recognizer
    size = recognizer.geometry.size(32, 48)
    sample = recognizer.sample(size, 0)
    recognizer._annotate(sample, size, model.label[0], model.device, masks=False)
    assert sample.gt_instances.bboxes.device.type == sample.gt_instances.labels.device.type == 'meta'
    assert len(sample.gt_instances) == 2 and len(sample.ignored_instances) == 1


@TASKS
def test_a_label_outside_the_classes_is_refused_with_its_file(tmp_path, blocks, task):
    batch = batches(task, 1)[0]
    if task == 'detection':
        batch['label'][1]['labels'][0] = 3
    else:
        batch['label'][1, 9, 9] = 3
    model = build(options(tmp_path, recog_opt=supervised(blocks[task])))
    with pytest.raises(ValueError, match=r'0\.png.*expected labels in 0\.\.2.* got \d\.\.3') as caught:
        model.feed_data(batch)
    assert '\n' not in str(caught.value)
    build(options(tmp_path, recog_opt=unsupervised(blocks[task]))).feed_data(batch)  # which asks nobody's labels


# -------------------------------------------------------------------------------------------------- validation
@pytest.fixture
def dataset(tmp_path):
    """Return ``dataset(task, sizes, answer)``: images with labels of which a recognizer predicts a part.

    ``answer(lq)`` makes the prediction that the labels of each image are made of.
    """

    def write(task, sizes, answer):
        root, rng = tmp_path / 'data', np.random.default_rng(0)
        for name in ('JPEGImages', 'Annotations', 'ImageSets/Main', 'masks'):
            (root / name).mkdir(parents=True)
        (root / 'ImageSets/Main/val.txt').write_text('\n'.join(str(i) for i in range(len(sizes))))
        for i, (height, width) in enumerate(sizes):
            image = Image.fromarray(rng.integers(0, 256, (9, 9, 3), np.uint8)).resize((width, height), Image.BICUBIC)
            image.save(root / f'JPEGImages/{i}.png')
            first = {'boxes': torch.tensor([[0., 0, 4, 4]]), 'labels': [0]}  # a set without any is refused
            write_boxes(root / f'Annotations/{i}.xml', first)
            Image.new('L', (width, height)).save(root / f'masks/{i}.png')
        opt = {'name': 'v', 'phase': 'val', 'classes': list(small.CLASSES), 'degradation': DEGRADATION}
        if task == 'detection':
            opt.update(dataroot_gt=str(root), split='val')
        else:
            opt.update(dataroot_gt=str(root / 'JPEGImages'), dataroot_mask=str(root / 'masks'))
        cls = DetectionDataset if task == 'detection' else SegmentationDataset
        for i, item in enumerate(cls(opt)):
            found = answer(item['lq'][None])
            if task == 'detection':
                write_boxes(root / f'Annotations/{i}.xml', found[0])
            else:
                write_mask(root / f'masks/{i}.png', found['masks'][0].numpy(), rng)
        return cls(opt)

    return write


def write_boxes(path, found):
    """Write the six best boxes in whole pixels; each third has another class, each fifth is difficult."""
    lines = []
    for k, (box, label) in enumerate(zip(found.get('boxes', [])[:6], found.get('labels', [])[:6], strict=True)):
        name = small.CLASSES[(int(label) + (k % 3 == 2)) % 3]
        place = zip(('xmin', 'ymin', 'xmax', 'ymax'), (box.round().int() + 1).tolist(), strict=True)
        lines.append(f'<object><name>{name}</name><difficult>{int(k % 5 == 4)}</difficult><bndbox>'
                     + ''.join(f'<{key}>{value}</{key}>' for key, value in place) + '</bndbox></object>')
    path.write_text(f'<annotation>{"".join(lines)}</annotation>')


def write_mask(path, mask, rng):
    """Write the mask with about a quarter of the pixels of another class, and an ignored left edge."""
    mask = np.where(rng.random(mask.shape) < 0.25, rng.integers(0, 3, mask.shape), mask).astype(np.uint8)
    mask[:, :3] = 255
    with Image.open(path) as whole:  # of which gt is cut
        padded = np.pad(mask, [(0, size - side) for size, side in zip(whole.size[::-1], mask.shape, strict=True)])
    Image.fromarray(padded).save(path)


def loader(dataset, batch_size):
    return torch.utils.data.DataLoader(dataset, batch_size, collate_fn=dataset.collate_fn)


def new_score(task):
    return DetectionScore(3, METRICS[task]) if task == 'detection' else SegmentationScore(3, METRICS[task])


def one_label(item):
    return [item['label']] if isinstance(item['label'], dict) else item['label'][None]


def read_tensor(path):
    return torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1)[None].float() / 255


@pytest.mark.slow
@TASKS
@pytest.mark.parametrize('sizes', SIZES)
@pytest.mark.parametrize('transformer', [False, True], ids=['', 'transformer'])
def test_validation_in_batches_is_that_of_each_saved_image(tmp_path, blocks, dataset, task, sizes, transformer):
    opt = options(tmp_path, recog_opt=supervised(blocks[task]))
    opt['val'].update(recognizers={'x': blocks[task]}, recognition_metrics=METRICS)
    if transformer:
        opt['network_t'] = dict(NETWORK_T)
    model, recognizer = build(opt), build_recognizer(blocks[task])
    with torch.no_grad():  # pictures, instead of the even gray of a fresh network
        model.net_g.tail.weight.mul_(20)

    def answer(lq):
        model.lq = lq
        model.test()
        return recognizer.predict(model.output_t if transformer else model.output)

    data = dataset(task, SIZES[sizes], answer)
    batch = next(iter(loader(data, 3)))
    assert (len(set(batch['size'])) > 1) == (sizes == 'different')
    model.validation(loader(data, 3), 5, None, save_img=True)

    score, psnr = new_score(task), []
    for i, item in enumerate(data):
        folder = next((tmp_path / 'visualization').rglob(f'{i}_5.png')).parent
        restored = read_tensor(folder / f'{i}_5.png')
        assert restored.shape[1:] == item['gt'].shape
        error = (restored[0] * 255).double() - (item['gt'] * 255).double()
        psnr.append(10 * np.log10(255 ** 2 / error.square().mean().item()))
        judged = read_tensor(folder / f'{i}_5_machine.png') if transformer else restored
        score.update(recognizer.predict(judged), one_label(item))
    expected = {f'{name}_x': value for name, value in score.compute().items()}
    assert all(0.02 < value < 0.98 for value in expected.values()), expected  # else the test could not fail
    assert model.metric_results == pytest.approx({'psnr': np.mean(psnr), **expected}, abs=1e-6)
    first = 'voc12_mAP_x' if task == 'detection' else 'mIoU_x'
    assert model.best_metric_results['v'][first]['iter'] == 5


@pytest.mark.slow
def test_unknown_tasks_and_metrics_are_one_line(tmp_path, blocks):
    opt = options(tmp_path, recog_opt=unsupervised(blocks['detection']))
    opt['val']['recognizers'] = {'x': blocks['detection']}
    for metrics, message in (('voc70', "unknown metric 'voc70'. Did you mean 'voc07'?"), ([], 'expected a metric'),
                             (['voc07', 'mIoU'], "unknown metric 'mIoU'")):
        opt['val']['recognition_metrics'] = {'detection': metrics}
        with pytest.raises(OptionError) as caught:
            build(opt)
        assert message in str(caught.value) and '\n' not in str(caught.value)
    opt['datasets'] = {}
    opt['is_train'] = False
    for metrics, message in (({'detektion': 'voc07'}, "val.recognition_metrics: no task 'detektion'. Did you mean "
                              "'detection'?"),
                             ({'detection': 7}, 'val.recognition_metrics.detection: expected text or a list of text'),
                             ('voc07', 'val.recognition_metrics: expected a block')):  # before anything is built
        opt['val']['recognition_metrics'] = metrics
        with pytest.raises(OptionError) as caught:
            check_file(opt)
        assert message in str(caught.value) and '\n' not in str(caught.value)


# ------------------------------------------------------------------------------------------------- evaluation
def dimmed(factor):
    """Process each pixel independently."""
    return lambda batch: (factor * batch.gt + 0.5 * (1 - factor)) * (batch.gt > 0)


PROCESSINGS = {'clean': clean, 'plain': dimmed(0.3), 'RA': dimmed(0.7)}


@pytest.fixture
def evaluated(blocks, dataset, tmp_path):
    """``evaluated(task, sizes, batch_size)``: the matrix, the data and the recognizer; labels are from clean images."""

    def run(task, sizes, batch_size):
        recognizer = build_recognizer(blocks[task])
        data = dataset(task, SIZES[sizes], lambda lq: recognizer.predict(F.interpolate(lq, scale_factor=2)))
        judging = Judging(processings={(name, 0): process for name, process in PROCESSINGS.items()},
                          recognizers={'x': recognizer}, metrics=METRICS, baseline='plain')
        items, condition = list(enumerate(data)), SimpleNamespace(dataset=data, block={})
        records = Records(tmp_path / str(batch_size), {})
        judge_all([same_size_batches(items[first:first + batch_size], condition, torch.device('cpu'))
                   for first in range(0, len(items), batch_size)], judging, records, 0)
        judged = records.read()
        return Matrix({(name, 0): judged_processing(judged[name, 0, SAVED], {'x': recognizer.info}, METRICS)
                       for name in PROCESSINGS}), data, recognizer

    return run


@pytest.mark.slow
@TASKS
@pytest.mark.parametrize('sizes, batch_size', [('different', 3), ('equal', 3), ('different', 1)])
def test_evaluation_in_batches_is_that_of_each_image(evaluated, task, sizes, batch_size):
    matrix, data, recognizer = evaluated(task, sizes, batch_size)
    for name, process in PROCESSINGS.items():
        score, psnr = new_score(task), []
        for item in data:
            saved = to_uint8(process(Batch(item['lq'][None], item['gt'][None], None, [0], [''])))
            error = saved[0].double() - to_uint8(item['gt']).double()
            psnr.append(10 * torch.log10(255 ** 2 / error.square().mean()).item())
            score.update(recognizer.predict(saved.float() / 255), one_label(item))
        ours = matrix.processings[name, 0].scores['x']
        assert len(ours) == len(data) == 5
        assert ours.compute() == pytest.approx(score.compute(), abs=1e-6)
        counts = np.array([[0, 2, 1, 1, 1], [5, 0, 0, 0, 0], [0, 0, 0, 0, 5]])  # the images are in order, too
        theirs = score.resampled(counts)
        for metric, values in ours.resampled(counts).items():
            np.testing.assert_allclose(values, theirs[metric], atol=1e-6)
        if name != 'clean':
            np.testing.assert_allclose(matrix.processings[name, 0].values['psnr'], psnr, rtol=1e-6)


@pytest.mark.slow
@TASKS
def test_summary_of_task_scores(evaluated, task):
    matrix, _, _ = evaluated(task, 'different', 3)
    found = to_plain(summary(matrix, 'plain'))
    values = {name: matrix.processings[name, 0].scores['x'].compute() for name in PROCESSINGS}
    assert found['n'] == 5 and list(found['differences']) == ['RA']
    for metric in values['RA']:
        for name in PROCESSINGS:
            entry = found['processings'][name]['scores']['x'][metric]
            assert entry['value'] == pytest.approx(values[name][metric]) and entry['low'] <= entry['high']
        entry = found['differences']['RA']['scores']['x'][metric]
        change, gap = (values[name][metric] - values['plain'][metric] for name in ('RA', 'clean'))
        assert (entry['value'], entry['gap']) == pytest.approx((change, gap)) and entry['mcnemar_p'] is None
        recovered = entry['gap_recovered']
        if recovered is not None:  # of five images hardly any gap is sure
            assert gap >= 0.05 and recovered['value'] == pytest.approx(change / gap)

    facts = {name: RestorerFacts(method=name) for name in ('plain', 'RA')}
    lines = to_markdown(Results(SCHEMA, 'plain', {'set': summary(matrix, 'plain')}, restorers=facts)).splitlines()
    assert lines[0] == '## set' and lines[2].startswith('Scores in %, with 95 % intervals, on 5 images')
    assert [cell.strip() for cell in lines[4].split('|')[4:-1]] == [f'x {metric}' for metric in values['RA']]
    row = next(line for line in lines if line.startswith('| RA '))
    assert [cell.split()[0] for cell in row.split('|')[4:-1]] == [
        f'{100 * value:.1f}' for value in values['RA'].values()]


# ------------------------------------------------------------------------------------------------------ crops
RESIZE = [dict(type='Resize', scale=(160, 80), keep_ratio=True)]


@pytest.mark.parametrize('crop, pipeline, resize, enlarged', [
    ({'crop_size': 32}, RESIZE, 'model', '32x32 pixels to 80x80'),
    ({'crop_size': [32, 64]}, RESIZE, 'model', '64x32 pixels to 160x80'),
    ({'gt_size': 32}, RESIZE, 'model', '32x32 pixels to 80x80'),  # a data set of BasicSR
    ({}, RESIZE, 'model', None),
    ({'crop_size': 32}, RESIZE, None, None),
    ({'crop_size': 32}, RESIZE, 2.0, None),
    ({'crop_size': 128}, RESIZE, 'model', None),
    ({'crop_size': 32}, [dict(type='Pad', size_divisor=64)], 'model', None),
])
@pytest.mark.parametrize('in_ensemble', [False, True], ids=['', 'ensemble'])
def test_crops_that_a_recognizer_would_enlarge_are_one_warning(tmp_path, caplog, crop, pipeline, resize, enlarged,
                                                               in_ensemble):
    config = small.write_config(tmp_path / 'tiny.py', small.FCOS, 'mmdet', resize=pipeline)
    block = {'type': 'MMDetRecognizer', 'config': config, 'pretrained': False, 'resize': resize}
    if in_ensemble:
        block = {'type': 'EnsembleRecognizer', 'recognizers': [block, {**block, 'resize': None}]}
    model = build(options(tmp_path, recog_opt=unsupervised(block) if in_ensemble else supervised(block)))
    datasets = [SimpleNamespace(opt={'name': 't', 'phase': 'train', **crop}),
                SimpleNamespace(opt={'name': 'v', 'phase': 'val', 'crop_size': 32})]
    caplog.clear()  # of what building logs at the level that another test's training has set
    with caplog.at_level(logging.INFO, 'test'):
        _check_recognizers(model, datasets, logging.getLogger('test'))
    assert len(caplog.records) == (enlarged is not None)
    if enlarged:
        record, = caplog.records
        assert record.levelno == logging.WARNING and '\n' not in record.message
        assert f'train.recog_opt: MMDetRecognizer(tiny) enlarges crops of {enlarged}' in record.message
        assert 'Set its resize: ~, or to the factor' in record.message
