"""tools/doctor.py: sound recognizers are ok; of those with one thing wrong, the check of that thing says so alone."""
import copy
import dataclasses
import json
import math
from dataclasses import replace
from pathlib import Path

import mm_configs as small
import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
import warm_start
import yaml
from PIL import Image
from programs import run_tool
from scipy.stats import binomtest
from torchvision_nets import DETECTORS, weights_of

from ra_plugin.checkpoint import load_weights, read_record
from ra_plugin.metrics.task_scores import TASKS
from ra_plugin.options import OptionError
from ra_plugin.recognizers import (
    MMDetRecognizer,
    MMSegRecognizer,
    ModuleRecognizer,
    TimmRecognizer,
    TorchvisionRecognizer,
    build_recognizer,
    tiny_nets,
)
from ra_plugin.studies.doctor import case
from ra_plugin.studies.doctor import checks as doctor
from ra_plugin.studies.doctor.checks import BROKEN, CHECKS, NOT_APPLICABLE, OK, SUSPICIOUS, Case, Finding
from ra_plugin.studies.doctor.report import to_markdown
from ra_plugin.studies.doctor.run import _labels_of_task, examine, recognizer_blocks

ROOT = Path(__file__).parents[2]
WEIGHTS = ROOT / 'ra_plugin' / 'weights'
NETS = {'resnet': 'TinyResNet', 'vgg': 'TinyVGG', 'densenet': 'TinyDenseNet', 'mobilenetv2': 'TinyMobileNetV2',
        'transformer': 'TinyTransformer'}
RECORD = read_record(WEIGHTS / 'cifar10_resnet.safetensors')
OWN = {'mean': RECORD['mean'], 'std': RECORD['std'], 'input_size': 32}
PER_CLASS = 8


@pytest.fixture(scope='module')
def cifar10():
    """80 images of the test split, each ``(1, 3, 32, 32)``, and their labels."""
    folders = sorted(path for path in (ROOT / 'datasets' / 'cifar10' / 'test').iterdir() if path.is_dir())
    files = [(file, label) for label, folder in enumerate(folders) for file in sorted(folder.iterdir())[:PER_CLASS]]
    images = [torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)[None] / 255 for file, _ in files]
    return images, [torch.tensor([label]) for _, label in files]


def block(name='resnet', **kwargs):
    return {'type': 'ModuleRecognizer', 'module': f'ra_plugin.recognizers.tiny_nets.{NETS[name]}',
            'checkpoint': str(WEIGHTS / f'cifar10_{name}.safetensors'), 'input_size': 32, **kwargs}


def trained(cls=tiny_nets.TinyResNet):
    """The shipped ResNet, or a subclass of it, as a plain module that knows nothing of its normalization."""
    net = cls()
    load_weights(net, WEIGHTS / 'cifar10_resnet.safetensors', 'test')
    return net


def findings_of(recognizer, examples, **kwargs):
    return {finding.check: finding for finding in
            doctor.check_recognizer(Case('r', recognizer, *examples, **kwargs))}


def wrong(findings):
    return {name for name, finding in findings.items() if finding.verdict in (SUSPICIOUS, BROKEN)}


def color_patches():
    """A network of fixed weights that sees coarse colors."""
    return torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(4), torch.nn.Flatten())


# ------------------------------------------------------------------ what is sound is ok
@pytest.mark.slow
@pytest.mark.parametrize('name', NETS)
def test_the_shipped_recognizers_are_sound(name, cifar10):
    findings = findings_of(build_recognizer(block(name)), cifar10)
    assert list(findings) == [check.name for check in CHECKS]
    assert {name: f.verdict for name, f in findings.items() if f.verdict != OK} == {'resize parity': NOT_APPLICABLE}
    assert findings['clean accuracy'].expected == f'{build_recognizer(block(name)).own_preprocessing().score:.1%}'
    recognizer = build_recognizer(block(name))
    right = [recognizer.predict(image)['labels'][0, 0] == label for image, label in zip(*cifar10, strict=True)]
    assert f'top-1 {torch.cat(right).double().mean():.1%}' in findings['clean accuracy'].measured


# --------------------------------------------------------- what is wrong is found, and it alone
@pytest.mark.slow
def test_normalization_that_contradicts_the_record(cifar10):
    findings = findings_of(build_recognizer(block(mean=[0.0, 0.0, 0.0], std=[1 / 255] * 3)), cifar10)
    assert wrong(findings) == {'mean/std'} and findings['mean/std'].verdict == BROKEN
    assert findings['mean/std'].fix == 'Write mean: [0.4915, 0.4821, 0.4464], std: [0.2472, 0.2437, 0.2617]'
    assert findings['clean accuracy'].verdict == NOT_APPLICABLE
    assert findings['clean accuracy'].measured == 'fix first: mean/std'


@pytest.mark.slow
def test_wrong_normalization_of_weights_without_a_record(cifar10):
    findings = findings_of(ModuleRecognizer(trained(), mean=[0.0] * 3, std=[1.0] * 3, input_size=32), cifar10)
    assert wrong(findings) == {'mean/std'}
    fix = yaml.safe_load('{' + findings['mean/std'].fix.removeprefix('Write ') + '}')
    assert not wrong(findings_of(ModuleRecognizer(trained(), **fix, input_size=32), cifar10))


@pytest.mark.slow
def test_a_module_that_normalizes_itself(cifar10):
    class Net(tiny_nets.TinyResNet):
        def forward(self, x):
            mean, std = (torch.tensor(RECORD[key]).view(3, 1, 1) for key in ('mean', 'std'))
            return super().forward((x - mean) / std)

    findings = findings_of(ModuleRecognizer(trained(Net), **OWN), cifar10)
    assert wrong(findings) == {'mean/std'}
    assert findings['mean/std'].fix == 'Write mean: [0, 0, 0], std: [1, 1, 1]'


@pytest.mark.slow
def test_another_normalization_than_the_record_s_that_does_no_harm_is_only_suspicious(cifar10):
    near = [value + 0.01 for value in RECORD['mean']]
    findings = findings_of(build_recognizer(block(mean=near)), cifar10)
    assert {name: findings[name].verdict for name in wrong(findings)} == {'mean/std': SUSPICIOUS}
    rounded = build_recognizer(block(mean=[round(value, 2) for value in RECORD['mean']]))
    assert doctor.mean_std(Case('r', rounded, *cifar10)).verdict == OK


@pytest.mark.parametrize('keys', [('mean', 'std'), ('mean',), ('std',)])
def test_normalization_on_the_scale_of_255(keys, cifar10):
    """It is refused where a recognizer is built; one that gets it later is found by its value range."""
    scaled = {key: [255 * value for value in RECORD[key]] for key in keys}
    with pytest.raises(ValueError, match=r'mean and std: expected them on the \[0, 1\] scale, .* by 255'):
        build_recognizer(block(**scaled))
    recognizer = build_recognizer(block())
    recognizer.info = dataclasses.replace(recognizer.info, **{key: tuple(value) for key, value in scaled.items()})
    for key, values in scaled.items():
        setattr(recognizer, key, torch.tensor(values).view(3, 1, 1).to(getattr(recognizer, key)))
    findings = findings_of(recognizer, cifar10)
    assert wrong(findings) == {'value range'} and findings['value range'].verdict == BROKEN
    assert 'Write mean: [0.4915, 0.4821, 0.4464], std: [0.2472, 0.2437, 0.2617]' in findings['value range'].fix


@pytest.mark.parametrize('spoil, fix', [
    (lambda image: image * 255, 'divide by 255'), (lambda image: (image - 0.5) / 0.25, 'not normalize'),
    (lambda image: image / 255, 'divided by 255 twice')])
def test_images_that_are_not_on_the_scale_of_one(spoil, fix, cifar10):
    images, labels = cifar10
    findings = findings_of(build_recognizer(block()), ([spoil(image) for image in images], labels))
    assert 'value range' in wrong(findings) <= {'value range', 'gradient'} and fix in findings['value range'].fix


def test_prepare_that_normalizes_twice(cifar10):
    class Twice(ModuleRecognizer):
        def prepare(self, images):
            return (super().prepare(images) - self.mean) / self.std

    assert wrong(findings_of(Twice(trained(), **OWN), cifar10)) == {'value range'}


def test_an_odd_deviation_is_suspicious(cifar10):
    case = Case('r', ModuleRecognizer(trained(), mean=[0.5] * 3, std=[0.03] * 3), *cifar10)
    assert doctor.value_range(case).verdict == SUSPICIOUS


@pytest.mark.slow
def test_exchanged_channels(cifar10):
    class Net(tiny_nets.TinyResNet):
        def forward(self, x):
            return super().forward(x.flip(1))

    findings = findings_of(ModuleRecognizer(trained(Net), **OWN), cifar10)
    assert wrong(findings) == {'channel order'} and 'x.flip(1)' in findings['channel order'].fix


@pytest.mark.slow
def test_labels_of_other_images(cifar10):
    images, labels = cifar10
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(1)).tolist()
    shuffled = images, [labels[i] for i in order]
    findings = findings_of(ModuleRecognizer(trained(), **OWN), shuffled)
    assert wrong(findings) == {'clean accuracy'} and findings['clean accuracy'].verdict == BROKEN
    assert 'checkpoint and labels' in findings['clean accuracy'].fix
    assert doctor.clean_accuracy(Case('r', build_recognizer(block()), *shuffled)).verdict == BROKEN  # with a record


@pytest.mark.slow
def test_classes_numbered_in_another_order(cifar10):
    images, labels = cifar10
    findings = findings_of(ModuleRecognizer(trained(), **OWN), (images, [(label + 3) % 10 for label in labels]))
    assert wrong(findings) == {'classes'} and findings['classes'].verdict == BROKEN
    assert '3 is its 0' in findings['classes'].fix and '2 is its 9' in findings['classes'].fix


@pytest.mark.parametrize('spoil', [
    lambda x: F.dropout(x, 0.5, training=True),
    lambda x: F.batch_norm(x, None, None, training=True)], ids=['dropout', 'batch norm'])
def test_a_module_that_stays_in_training_mode(spoil, cifar10):
    class Net(tiny_nets.TinyResNet):
        def forward(self, x):
            return self.head(spoil(self.blocks(self.stem(x))).mean((2, 3)))

    findings = findings_of(ModuleRecognizer(trained(Net), **OWN), cifar10)
    # the loss of a network that draws lots has no slope either: the two passes of its difference are other networks
    assert 'eval mode' in wrong(findings) <= {'eval mode', 'gradient'}
    assert 'training=self.training' in findings['eval mode'].fix


def test_statistics_that_move(cifar10):
    class Net(tiny_nets.TinyResNet):
        def __init__(self):
            super().__init__()
            self.register_buffer('seen', torch.zeros(()), persistent=False)

        def forward(self, x):
            self.seen += len(x)
            return super().forward(x)

    findings = findings_of(ModuleRecognizer(trained(Net), **OWN), cifar10)
    assert wrong(findings) == {'eval mode'} and '1 buffers changed' in findings['eval mode'].measured


@pytest.mark.slow
@pytest.mark.parametrize('spoil, measured', [
    (lambda x: x.detach(), 'zero everywhere'),
    (lambda x: torch.cat([x[:, :12], x[:, 12:].detach()], 1), 'finite difference'),
    (lambda x: x + (torch.round(x * 2) / 2 - x).detach(), 'finite difference'),
    (lambda x: x + (0 * x).sqrt(), 'not finite')], ids=['cut', 'cut in part', 'rounded', 'nan'])
def test_a_gradient_that_is_not_that_of_the_loss(spoil, measured, cifar10):
    class Net(tiny_nets.TinyResNet):
        def forward(self, x):
            return self.head(self.blocks(spoil(self.stem(x))).mean((2, 3)))

    net = ModuleRecognizer(trained(Net), **OWN)
    case = Case('r', net, *cifar10)
    finding = doctor.gradient(case)
    assert finding.verdict == BROKEN and measured in finding.measured
    assert doctor.gradient(replace(case, trains=False)).verdict == SUSPICIOUS
    assert doctor.eval_mode(case).verdict == OK


def test_a_gradient_of_few_pixels(cifar10):
    class Net(tiny_nets.TinyResNet):
        def forward(self, x):
            return super().forward(x * F.pad(torch.ones_like(x[..., 10:20, 10:20]), (10, 12, 10, 12)))

    finding = doctor.gradient(Case('r', ModuleRecognizer(trained(Net), **OWN), *cifar10))
    assert finding.verdict == SUSPICIOUS and finding.measured.startswith('10% of the pixels')


def test_parameters_that_are_not_frozen(cifar10):
    recognizer = ModuleRecognizer(trained(), **OWN)
    recognizer.model.head.weight.requires_grad_()
    finding = doctor.gradient(Case('r', recognizer, *cifar10))
    assert finding.verdict == BROKEN and 'parameter' in finding.measured


@pytest.mark.slow
def test_what_only_judges_need_not_have_a_gradient(cifar10):
    recognizer = build_recognizer(block())
    recognizer.info = replace(recognizer.info, differentiable=False)
    assert wrong(findings_of(recognizer, cifar10)) == {'gradient'}
    assert doctor.gradient(Case('r', recognizer, *cifar10, trains=False)).verdict == NOT_APPLICABLE


@pytest.mark.slow
def test_the_expected_score_that_is_given_counts(cifar10):
    case = Case('r', build_recognizer(block()), *cifar10)
    verdicts = [doctor.clean_accuracy(replace(case, expected=share)).verdict for share in (0.8, 0.93, 1.0)]
    assert verdicts[0] == OK and verdicts[2] == SUSPICIOUS
    assert doctor.clean_accuracy(replace(case, expected=0.05)).verdict == OK  # more than expected is welcome
    images, labels = cifar10
    few = replace(case, images=images[::20], labels=[(label + 1) % 10 for label in labels[::20]])
    assert doctor.clean_accuracy(few).verdict == BROKEN


def test_a_score_needs_labels(cifar10):
    with pytest.raises(ValueError, match=r'^r: expected the labels of its images, got none\.'):
        case.task_score(Case('r', build_recognizer(block()), cifar10[0]))


@pytest.mark.slow
def test_without_labels_only_what_needs_none_is_checked(cifar10):
    findings = findings_of(build_recognizer(block()), (cifar10[0], None))
    assert {name for name, finding in findings.items() if finding.verdict == OK} == {
        'value range', 'eval mode', 'mean/std', 'gradient'}
    assert not wrong(findings)


@pytest.mark.slow
def test_an_error_of_one_check_is_its_finding(cifar10):
    class Net(tiny_nets.TinyResNet):
        def forward(self, x):
            if len(x) > 1 and not torch.equal(x[0], x[1]):
                raise RuntimeError('one at a\ntime')
            return super().forward(x)

    findings = findings_of(ModuleRecognizer(trained(Net), **OWN), cifar10)
    assert findings['eval mode'].verdict == BROKEN and findings['eval mode'].fix == 'RuntimeError: one at a time'
    assert findings['gradient'].verdict == OK


def test_better_is_the_sign_test():
    rng = np.random.default_rng(0)
    for _ in range(200):
        ours, theirs = rng.random(60) < 0.5, rng.random(60) < rng.uniform(0.4, 1)
        wins, losses = int((theirs & ~ours).sum()), int((ours & ~theirs).sum())
        p = 7 * binomtest(wins, wins + losses, alternative='greater').pvalue
        expected = OK if theirs.mean() - ours.mean() < 0.05 or p >= 1e-2 else BROKEN if p < 1e-4 else SUSPICIOUS
        assert doctor._better(theirs.astype(float), ours.astype(float), 7) == expected
    assert doctor._better(np.ones(9), np.ones(9)) == OK


# ------------------------------------------------------------------------ resize parity
@pytest.fixture(scope='module')
def photographs(cifar10):
    """Four pictures of 240x180 pixels, each of 16 images of CIFAR-10, enlarged: edges and areas, 8 bit."""
    pictures = []
    for i in range(4):
        rows = [torch.cat(cifar10[0][20 * i + 4 * row:20 * i + 4 * row + 4], 3) for row in range(3)]
        picture = Image.fromarray((torch.cat(rows, 2)[0] * 255).byte().permute(1, 2, 0).numpy())
        pictures.append(picture.resize((240, 180), Image.Resampling.BICUBIC))
    return [torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None] / 255 for picture in pictures], None


def timm_recognizer(**kwargs):
    torch.manual_seed(0)
    return TimmRecognizer('test_resnet', pretrained=False, **kwargs)


def torchvision_recognizer(folder, **kwargs):
    torch.manual_seed(0)
    torch.save(torchvision.models.squeezenet1_1().state_dict(), folder / 'squeezenet.pth')
    return TorchvisionRecognizer('squeezenet1_1', checkpoint=str(folder / 'squeezenet.pth'), **kwargs)


@pytest.mark.slow
@pytest.mark.parametrize('build', [lambda _, **kwargs: timm_recognizer(**kwargs), torchvision_recognizer],
                         ids=['timm', 'torchvision'])
def test_resize_is_compared_with_the_package_s_own(build, photographs, tmp_path):
    case = Case('r', build(tmp_path), *photographs)
    finding = doctor.resize_parity(case)
    assert finding.verdict == OK and '4 of 4 answers agree' in finding.measured
    assert 0 < float(finding.measured.split()[0]) <= 1
    stretched = findings_of(build(tmp_path, fit='stretch'), photographs)
    assert wrong(stretched) == {'resize parity'} and stretched['resize parity'].verdict == BROKEN
    assert stretched['resize parity'].fix == 'Set fit: crop, as its own preprocessing does.'
    smaller = doctor.resize_parity(replace(case, recognizer=build(tmp_path, input_size=96)))
    assert smaller.verdict == SUSPICIOUS and 'Leave out input_size' in smaller.fix
    assert doctor.resize_parity(replace(case, recognizer=build(tmp_path, input_size=None))).verdict == NOT_APPLICABLE


@pytest.mark.slow
def test_another_interpolation_is_noticed(photographs):
    recognizer = timm_recognizer()
    recognizer.prepare = lambda images: (F.interpolate(images, (180, 240), mode='nearest')[..., 10:170, 40:200]
                                         - recognizer.mean) / recognizer.std
    assert doctor.resize_parity(Case('r', recognizer, *photographs)).verdict == BROKEN


@pytest.mark.slow
def test_the_record_is_that_of_the_package(tmp_path):
    own = timm_recognizer().own_preprocessing()
    config = timm.create_model('test_resnet').pretrained_cfg
    assert (own.mean, own.std, own.score) == (tuple(config['mean']), tuple(config['std']), None)
    recognizer = torchvision_recognizer(tmp_path)
    assert recognizer.own_preprocessing().score is None  # of a file nobody knows
    recognizer.info = replace(recognizer.info, source='torchvision IMAGENET1K_V1')
    assert recognizer.own_preprocessing().score == pytest.approx(0.58178)


# ------------------------------------------------------------------ detectors and segmenters
@pytest.mark.slow
@pytest.mark.parametrize('name', ['RETINANET', 'FCOS', 'FASTER_RCNN', 'MASK_RCNN', 'FCN'])
def test_detectors_and_segmenters(name, photographs, tmp_path):
    library = 'mmseg' if name == 'FCN' else 'mmdet'
    config = small.write_config(tmp_path / 'model.py', getattr(small, name), library,
                                resize=[dict(type='Resize', scale=(160, 120), keep_ratio=True)])
    torch.manual_seed(3)
    recognizer = (MMSegRecognizer if library == 'mmseg' else MMDetRecognizer)(config, pretrained=False)
    check_boxes_or_masks(recognizer, photographs)


@pytest.mark.slow
@pytest.mark.parametrize('name', ['ssdlite320_mobilenet_v3_large', 'fasterrcnn_mobilenet_v3_large_320_fpn',
                                  'lraspp_mobilenet_v3_large'])
def test_detectors_and_segmenters_of_torchvision(name, photographs, tmp_path):
    torch.save(weights_of(name), tmp_path / 'net.pth')
    recognizer = TorchvisionRecognizer(name, checkpoint=str(tmp_path / 'net.pth'), model_kwargs={
        'num_classes': 4, **DETECTORS.get(name, {})})
    recognizer.info = replace(recognizer.info, source='random weights')
    check_boxes_or_masks(recognizer, photographs)


def check_boxes_or_masks(recognizer, photographs):
    is_segmenter = recognizer.info.task == 'segmentation'
    images = [image[..., :96, :128].contiguous() for image in photographs[0][:2]]
    boxes = torch.tensor([[8., 6, 60, 70], [30, 20, 90, 60]])
    masks = torch.zeros(2, 96, 128, dtype=torch.bool)
    masks[0, 6:70, 8:60] = masks[1, 20:60, 30:90] = True
    label = [{'boxes': boxes, 'labels': torch.tensor([0, 2]), 'masks': masks}]
    labels = [torch.arange(3).repeat_interleave(32)[None, :, None].expand(1, 96, 128)
              if is_segmenter else label] * 2
    findings = findings_of(recognizer, (images, labels))
    for check in ('value range', 'eval mode', 'classes', 'resize parity', 'gradient'):
        assert findings[check].verdict == OK, findings[check]
    finding = doctor.clean_accuracy(Case('r', recognizer, images, labels))
    assert finding.verdict == BROKEN and 'random weights' in finding.fix
    assert finding.measured.startswith('mIoU' if is_segmenter else 'voc12_mAP')


@pytest.mark.slow
def test_a_detector_s_resize_is_compared_with_its_pipeline(photographs, tmp_path):
    config = small.write_config(tmp_path / 'model.py', small.FCOS, 'mmdet',
                                resize=[dict(type='Resize', scale=(160, 120), keep_ratio=True)])
    recognizer = MMDetRecognizer(config, pretrained=False)
    recognizer.prepare = lambda images: recognizer.feed(images.roll(3, 3))[0]
    assert doctor.resize_parity(Case('r', recognizer, *photographs)).verdict == BROKEN
    as_they_come = MMDetRecognizer(config, pretrained=False, resize=None)
    assert doctor.resize_parity(Case('r', as_they_come, *photographs)).verdict == NOT_APPLICABLE


# ----------------------------------------------------------------------- the option file
@pytest.fixture
def option_file(tmp_path, cifar10):
    """40 images in class folders and an option file that trains with one recognizer and judges with two."""
    for i, (image, label) in enumerate(zip(cifar10[0][::2], cifar10[1][::2], strict=True)):
        folder = tmp_path / 'images' / RECORD['classes'][label]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image[0] * 255).byte().permute(1, 2, 0).numpy()).save(folder / f'{i}.png')
    opt = yaml.safe_load((ROOT / 'options' / 'demo' / 'ra_srresnet_x2_cifar10.yml').read_text())
    for dataset in opt['datasets'].values():
        dataset['dataroot_gt'] = str(tmp_path / 'images')
    opt['num_gpu'] = 0
    opt['train']['recog_opt']['recognizer'] = block()
    opt['val']['recognizers'] = {'resnet': block(), 'vgg': block('vgg')}

    def write(change=lambda opt: None):
        changed = copy.deepcopy(opt)
        change(changed)
        file = tmp_path / 'options.yml'
        file.write_text(yaml.safe_dump(changed))
        return file

    return write


@pytest.fixture
def run(monkeypatch, capsys):
    """The tool in this process: ``run(*arguments)`` gives its exit status, output and errors."""
    return lambda *arguments: (run_tool(monkeypatch, 'doctor', *arguments), *capsys.readouterr())


@pytest.mark.slow
def test_a_sound_option_file(option_file, tmp_path, run):
    status, out, _ = run('-opt', option_file(), '-k', 20, '--json', tmp_path / 'found.json', '--expect', 'vgg=0.8')
    assert status == 0
    assert '| resnet | ok | ok | ok | ok | ok | not applicable | ok | ok |' in out
    found = [Finding(**entry) for entry in json.loads((tmp_path / 'found.json').read_text())]
    assert [(f.recognizer, f.check) for f in found] == [(r, c.name) for r in ('resnet', 'vgg') for c in CHECKS]
    assert found[-1].expected == '80.0%' and 'on 20 images' in found[-1].measured


@pytest.mark.slow
def test_what_is_broken_ends_with_status_1_and_leaves_the_others(option_file, tmp_path):
    def spoil(opt):
        opt['val']['recognizers']['vgg']['checkpoint'] = 'nowhere.safetensors'
        opt['val']['recognizers']['scaled'] = block(mean=[125.0, 123.0, 114.0], std=[63.0, 62.0, 67.0])

    done = warm_start.run([ROOT / 'tools' / 'doctor.py', '-opt', option_file(spoil), '-k', '10', '--force_yml',
                           'name=other'])
    assert done.returncode == 1 and 'Traceback' not in done.stderr
    assert '| vgg | broken | broken |' in done.stdout and '| resnet | ok |' in done.stdout
    assert 'vgg, build: broken' in done.stdout and 'no checkpoint' in done.stdout
    assert 'scaled, build: broken' in done.stdout and 'Divide those of the 0..255 scale by 255' in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize('spoil, said', [
    (lambda opt: opt['val']['recognizers'].update(vgg={'type': 'ModuleRecogniser'}), "you mean 'ModuleRecognizer'?"),
    (lambda opt: opt['datasets']['val'].update(dataroot_gt='nowhere'), 'nowhere')])
def test_a_wrong_option_file_is_one_line_and_status_2(spoil, said, option_file, run):
    status, _, err = run('-opt', option_file(spoil))
    assert status == 2 and said in err and len(err.splitlines()) == 2  # the first says that it loads


def small_options(option_file, change=lambda opt: None):
    opt = yaml.safe_load(option_file(change).read_text())
    for phase, dataset in opt['datasets'].items():
        dataset['phase'] = phase
    return opt


@pytest.mark.slow
def test_class_names_in_another_order(option_file):
    opt = small_options(option_file)
    opt['datasets']['val']['classes'] = RECORD['classes'][::-1]
    opt['val']['recognizers'].pop('vgg')
    findings = {finding.check: finding for finding in examine(opt, 20)}
    assert wrong(findings) == {'classes'} and 'Give the data set the order' in findings['classes'].fix
    opt['datasets']['val']['classes'] = [*RECORD['classes'], 'cherub']
    findings = {finding.check: finding for finding in examine(opt, 20)}
    assert wrong(findings) == {'classes'} and '11 classes' in findings['classes'].fix


@pytest.mark.slow
def test_the_training_set_serves_where_the_other_has_no_labels(option_file):
    def unlabeled(opt):
        folder = opt['datasets']['val'].pop('dataroot_gt')
        opt['datasets']['val'] = {'name': 'v', 'type': 'SingleImageDataset', 'dataroot_lq': f'{folder}/cat',
                                  'io_backend': {'type': 'disk'}}
        opt['val'].pop('recognizers')
        opt['datasets']['train']['crop_size'] = 30  # in training at random, and here from the center

    findings = list(examine(small_options(option_file, unlabeled), 10))
    assert findings == list(examine(small_options(option_file, unlabeled), 10))
    assert {f.recognizer for f in findings} == {'recog_opt.recognizer'}
    assert [f.verdict for f in findings if f.check == 'clean accuracy'] == [OK]

    def all_unlabeled(opt):
        unlabeled(opt)
        opt['datasets'].pop('train')

    findings = list(examine(small_options(option_file, all_unlabeled), 10))
    assert not wrong({f.check: f for f in findings})
    assert [f.verdict for f in findings if f.check == 'clean accuracy'] == [NOT_APPLICABLE]


PATCHES = {'type': 'ModuleRecognizer', 'task': 'embedding', 'module': 'test_doctor.color_patches', 'pretrained': False,
           'mean': [0.5] * 3, 'std': [0.25] * 3}


@pytest.mark.slow
def test_an_embedding_network_is_checked_by_its_features_and_identities(cifar10):
    """Its loss takes no labels, and its answers have a fixed length, so that their squares have no gradient."""
    recognizer = build_recognizer(PATCHES)
    images, labels = cifar10
    findings = findings_of(recognizer, (images, labels))
    assert findings['gradient'].verdict == OK
    assert findings['channel order'] == Finding(NOT_APPLICABLE, 'no loss against labels', '', '', 'r', 'channel order')
    assert 'no loss against labels to try others with' in findings['mean/std'].measured
    vectors = F.normalize(torch.cat([recognizer.vectors(image) for image in images]).double(), dim=1)
    similarity = (vectors @ vectors.T).fill_diagonal_(-1)
    truth = torch.cat(labels)
    recall = (truth[similarity.argmax(1)] == truth).double().mean().item()
    found = findings['clean accuracy']  # colors say little of what is in a picture
    assert f'recall_at_1 {recall:.1%}' in found.measured and f'({(PER_CLASS - 1) / 79:.1%})' in found.expected
    assert found.verdict in (BROKEN, SUSPICIOUS) and 'checkpoint' in found.fix
    people = [image for image in images[::8] for _ in range(3)]
    noisy = [(image + 0.02 * torch.randn_like(image)).clamp(0, 1) for image in people]
    sound = findings_of(recognizer, (noisy, [torch.tensor([i // 3]) for i in range(30)]))
    assert not wrong(sound) and 'recall_at_1 100.0%' in sound['clean accuracy'].measured
    single = findings_of(recognizer, (noisy[::3], [torch.tensor([i]) for i in range(10)]))['clean accuracy']
    assert (single.verdict, single.measured) == (NOT_APPLICABLE, 'recall_at_1: too few identities: -k takes more')
    assert sound['classes'].measured == 'an embedding has no classes'


class Guess(torch.nn.Module):
    """Vectors that say nothing of the image but are the same each time; or none for bright images."""

    def __init__(self, seed, limit=9.0):
        super().__init__()
        self.seed, self.limit = seed, limit

    def forward(self, x):
        noise = [torch.randn(16, generator=torch.Generator().manual_seed(int(1e6 * one.abs().sum()) + self.seed))
                 for one in x]
        return torch.stack(noise) / torch.where(x.mean((1, 2, 3)) > self.limit, torch.nan, 1.0)[:, None]


@pytest.mark.parametrize('people, photos, verdicts', [(5, 4, {NOT_APPLICABLE, BROKEN}), (2, 3, {NOT_APPLICABLE}),
                                                      (20, 5, {BROKEN})])
def test_an_embedding_network_that_guesses_does_not_pass(people, photos, verdicts):
    found = set()
    for seed in range(4):
        guess = ModuleRecognizer(Guess(seed), mean=[0.5] * 3, std=[0.25] * 3, task='embedding', pretrained=False)
        images = [torch.rand(1, 3, 8, 8) for _ in range(people * photos)]
        labels = [torch.tensor([i // photos]) for i in range(len(images))]
        finding = doctor.clean_accuracy(Case('r', guess, images, labels))
        assert ('too few identities to tell from chance' in finding.measured) == (finding.verdict == NOT_APPLICABLE)
        assert 'by permuted identities' in finding.measured
        found.add(finding.verdict)
    assert found <= verdicts


@pytest.mark.parametrize('limit, lost, verdict', [(9.0, 0, OK), (0.0, 3, SUSPICIOUS), (-0.5, 6, BROKEN)])
def test_embeddings_without_a_direction_are_counted(limit, lost, verdict):
    guess = ModuleRecognizer(Guess(0), mean=[0.6] * 3, std=[0.25] * 3, task='embedding', pretrained=False)
    guess.model.limit = limit
    images = [torch.full((1, 3, 8, 8), value) + 0.01 * torch.rand(1, 3, 8, 8) for value in (0.5, 0.7) * 3]
    finding = doctor.eval_mode(Case('r', guess, images))
    assert finding.verdict == verdict
    assert not lost or finding.measured == f'{lost} of 6 embeddings are zero or not finite'


@pytest.mark.slow
def test_an_embedding_network_does_without_labels_of_another_task(option_file):
    def change(opt):
        opt['val']['recognizers'] = {'patches': PATCHES}

    labels = [[{'boxes': torch.zeros(1, 4), 'labels': torch.zeros(1)}]]
    assert _labels_of_task(build_recognizer(PATCHES), labels) is None
    assert _labels_of_task(build_recognizer(block()), labels) is labels
    findings = [f for f in examine(small_options(option_file, change), 10) if f.recognizer == 'patches']
    assert {f.check for f in findings} == {check.name for check in CHECKS}
    assert [f.measured for f in findings if f.check == 'classes'] == ['an embedding has no classes']


def test_each_task_with_a_score_has_one_of_chance():
    assert set(case.CHANCE) == set(TASKS)


def test_each_recognizer_is_checked_once_and_ensembles_by_their_members():
    a, b, c = ({'type': 'ModuleRecognizer', 'module': name} for name in 'abc')
    opt = {'train': {'recog_opt': [{'recognizer': {'type': 'EnsembleRecognizer', 'recognizers': [a, b]}},
                                   {'recognizer': a}]}, 'val': {'recognizers': {'x': b, 'y': c}}}
    assert recognizer_blocks(opt) == {'x': (b, True), 'y': (c, False),
                                      'recog_opt[0].recognizer.recognizers[0]': (a, True)}


def test_options_that_cannot_be_meant(option_file):
    opt = small_options(option_file)
    with pytest.raises(OptionError, match=r"no recognizer 'vg'. Known: resnet, vgg"):
        list(examine(opt, 5, {'vg': 0.5}))
    with pytest.raises(OptionError, match=r'-k: expected a whole number >= 1, got 0'):
        list(examine(opt, 0))
    opt['val']['recognizers'], opt['train']['recog_opt'] = {}, []
    with pytest.raises(OptionError, match='got none'):
        list(examine(opt, 5))


def test_names_from_files_do_not_steer_the_terminal():
    finding = Finding(BROKEN, 'x\x1b[2J', 'y', 'z\n| forged |', 'a|b\x1b', doctor.BUILD)
    table = to_markdown([finding])
    assert '\x1b' not in table and '\n| forged' not in table and r'a\|b' in table
    assert math.isclose(table.splitlines()[2].replace(r'\|', '').count('|'), len(CHECKS) + 2)


def test_a_recognizer_whose_default_is_spelled_out_is_checked_once():
    block = {'type': 'TimmRecognizer', 'model_name': 'test_resnet', 'pretrained': False}
    spelled_out = {**block, 'input_size': 'model'}
    opt = {'train': {'recog_opt': {'recognizer': spelled_out}}, 'val': {'recognizers': {'x': block}}}
    assert recognizer_blocks(opt) == {'x': (block, True)}


@pytest.mark.slow
def test_the_commonest_normalization_that_serves_is_proposed(monkeypatch, cifar10):
    """CLIP's mean and std differ from ImageNet's by less than chance: a network trained with either reads both."""
    imagenet = doctor._NORMALIZATIONS['ImageNet']

    class Net(tiny_nets.TinyResNet):
        def forward(self, x):  # takes ImageNet's, and so reads CLIP's as well
            given, own = (torch.tensor(pair).view(2, 3, 1, 1) for pair in (imagenet, (RECORD['mean'], RECORD['std'])))
            return super().forward((x * given[1] + given[0] - own[0]) / own[1])

    finding = doctor.mean_std(Case('net', ModuleRecognizer(trained(Net), mean=[0.0] * 3, std=[1.0] * 3, input_size=32),
                                   *cifar10))
    assert finding.verdict != OK and finding.expected.endswith('(ImageNet)')
    found = {name: np.arange(100) % 10 < share for name, share in (('common', 8), ('rare', 9), ('bad', 1))}
    found['rare'] = found['common'].copy()
    found['rare'][9::50] = True  # two images more: chance
    ours = np.arange(100) % 10 < 1
    assert doctor._commonest_best({name: value.astype(float) for name, value in found.items()},
                                  ours.astype(float)) == 'common'


def test_the_accuracy_is_told_although_it_is_far_above_chance():
    finding = Finding(OK, 'top-1 56.7% (46.9% to 66.0%) on 100 images', 'far above chance (11.0%)', '', 'net',
                      'clean accuracy')
    assert 'net, clean accuracy: ok: top-1 56.7% (46.9% to 66.0%)' in to_markdown([finding])
