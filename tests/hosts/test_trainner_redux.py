"""The losses in traiNNer-redux: their weight, 32 bits under autocast, labels, and the trainings that are refused.

``RA_PLUGIN_TRAINNER_REDUX=FOLDER`` names a checkout, which then takes the place of the stand-in beside this file.
"""
import contextlib
import importlib
import os
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import yaml
from PIL import Image

from ra_plugin.hosts import trainner_redux
from ra_plugin.hosts.redux_labels import check_labels_last
from ra_plugin.hosts.redux_losses import RecogConsistencyLoss, RecogFeatureLoss, RecogLoss
from ra_plugin.options import OptionError

HERE = Path(__file__).parent
STUB = HERE / 'redux_stub'
CHECKOUT = os.environ.get('RA_PLUGIN_TRAINNER_REDUX')
LAMBDA, TEMPERATURE = 0.3, 2.0
TINY = {'type': 'ModuleRecognizer', 'module': 'tiny_classifier.TinyClassifier', 'pretrained': True,
        'mean': [0.0, 0.0, 0.0], 'std': [1.0, 1.0, 1.0]}
NETWORK = {'type': 'compact', 'num_feat': 4, 'num_conv': 1}
PIXEL = {'type': 'L1Loss', 'loss_weight': 1.0}
KL = {'type': 'RecogConsistencyLoss', 'loss_weight': LAMBDA, 'recognizer': TINY}
LABELED = {'type': 'RecogLoss', 'loss_weight': LAMBDA, 'recognizer': TINY, 'labels': 'folders'}


@contextlib.contextmanager
def importable(folder):
    """Let ``traiNNer`` be the package in a folder; what is imported of it is forgotten afterwards."""
    path, words = list(sys.path), list(sys.argv)
    sys.path.insert(0, str(folder))
    sys.argv[:] = ['train.py']  # the host reads the name of its program as it is imported
    try:
        yield
    finally:
        sys.path[:], sys.argv[:] = path, words
        for name in [name for name in sys.modules if name.partition('.')[0] == 'traiNNer']:
            del sys.modules[name]


@pytest.fixture(scope='module')
def host():
    """Register the losses once, as a training does; the host's reader of options and builder of models."""
    with importable(CHECKOUT or STUB):
        trainner_redux.register()
        reader = importlib.import_module('traiNNer.utils.options')
        yield reader.yaml_load, importlib.import_module('traiNNer.models')


@pytest.fixture(autouse=True)
def tiny_classifier(monkeypatch):
    monkeypatch.syspath_prepend(str(HERE))


@pytest.fixture
def build(host, tmp_path):
    """Return a function that writes an option file, and builds its model as the host's program does."""
    read, models = host
    (tmp_path / 'gt').mkdir()

    def build(*losses, train=None, data=None, **top):
        block = {'name': 'test', 'scale': 2, 'num_gpu': 0, 'path': {}, 'network_g': NETWORK, **top,
                 'datasets': {'train': {'name': 'photos', 'type': 'PairedImageDataset',
                                        'dataroot_gt': str(tmp_path / 'gt'), **(data or {})}},
                 'train': {'total_iter': 3, 'optim_g': {'type': 'Adam', 'lr': 1e-3}, 'losses': list(losses),
                           **(train or {})}}
        (tmp_path / 'train.yml').write_text(yaml.safe_dump(block))
        opt, _ = read(str(tmp_path / 'train.yml'))
        opt.is_train, opt.dist, opt.rank = True, False, 0
        if isinstance(opt.datasets['train'].dataroot_gt, str):
            opt.datasets['train'].dataroot_gt = [opt.datasets['train'].dataroot_gt]
        return models.build_model(opt)

    return build


def batch(count=2, paths=None):
    images = {'lq': torch.rand(count, 3, 8, 8), 'gt': torch.rand(count, 3, 16, 16)}
    return images if paths is None else {**images, 'gt_path': paths}


def gradients(model):
    """The gradients that one step of the host leaves."""
    model.optimize_parameters(1, 0, False)
    return [parameter.grad.clone() for parameter in model.net_g.parameters()]


def expected_gradients(model, data, recognition, dtype=None):
    """d/dw of (mean |output - gt| + lambda * recognition), the networks in the given type and the losses in float32."""
    with torch.autocast('cpu', dtype, enabled=dtype is not None):
        output = model.net_g(data['lq'])
    total = (output.float() - data['gt']).abs().mean() + LAMBDA * recognition(output.float(), data['gt'])
    return torch.autograd.grad(total, list(model.net_g.parameters()))


def kl(output, gt):
    """T^2 KL(clean || restored) of the softened answers, mean over the images."""
    net = importlib.import_module('tiny_classifier').TinyClassifier()
    p, q = (net(images).div(TEMPERATURE).softmax(1) for images in (output, gt))
    return TEMPERATURE ** 2 * (q * (q / p).log()).sum(1).mean()


def cross_entropy(label):
    net = importlib.import_module('tiny_classifier').TinyClassifier()
    return lambda output, gt: F.cross_entropy(net(output), torch.tensor(label))


def assert_equal(found, wanted, tolerance=1e-5):
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance * other.abs().max().item())


def test_lambda_weights_the_gradient_once(build):
    model, data = build(PIXEL, KL), batch()
    model.feed_data(data)
    assert_equal(gradients(model), expected_gradients(model, data, kl))


def test_the_loss_leaves_autocast(build):
    model, data = build(PIXEL, KL), batch()
    model.use_amp, model.amp_dtype = True, torch.bfloat16
    model.feed_data(data)
    found, wanted = gradients(model), expected_gradients(model, data, kl, torch.bfloat16)
    assert_equal(found, wanted, 1e-2)  # a bfloat16 has 8 bits
    loss = model.losses['l_g_recogconsistency']
    output = data['gt'].flip(3).requires_grad_()
    with torch.autocast('cpu', torch.bfloat16):
        value = loss(output.bfloat16(), data['gt'].bfloat16())
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, kl(output.bfloat16().float(), data['gt'].bfloat16().float()))
    seen = []
    loss.loss.register_forward_pre_hook(lambda _, images: seen.extend(
        [torch.is_autocast_enabled('cpu'), *(one.dtype for one in images)]))  # what is outside the recognizer, too
    model.feed_data(data)
    gradients(model)
    assert seen == [False, torch.float32, torch.float32]


def test_the_log_has_the_weight_once(build):
    model, data = build(PIXEL, KL), batch()
    model.feed_data(data)
    wanted = LAMBDA * kl(model.net_g(data['lq']), data['gt'])
    model.optimize_parameters(1, 0, True)
    logged = model.get_current_log() if hasattr(model, 'get_current_log') else model.log_dict
    torch.testing.assert_close(torch.as_tensor(logged['l_g_recogconsistency']), wanted.detach())


def test_it_trains_and_the_recognizer_stays(build):
    model = build(PIXEL, KL, {**KL, 'type': 'recogfeatureloss', 'distance': 'l2'})
    before = [parameter.clone() for parameter in model.net_g.parameters()]
    frozen = model.losses['l_g_recogfeature'].loss.recognizer.model.state_dict()
    kept = {name: value.clone() for name, value in frozen.items()}
    for step in range(3):
        model.feed_data(batch())
        model.optimize_parameters(step + 1, 0, True)
    assert all((one != other).any() for one, other in zip(before, model.net_g.parameters(), strict=True))
    assert all(torch.equal(frozen[name], value) for name, value in kept.items())
    assert not list(model.losses['l_g_recogfeature'].parameters())


def test_clean_images_beyond_the_range_are_clamped(build):
    loss = build(PIXEL, KL).losses['l_g_recogconsistency']
    gt = torch.rand(2, 3, 16, 16) * 1.1 - 0.05
    assert torch.equal(loss(gt, gt), loss(gt, gt.clamp(0, 1)))


# ---------------------------------------------------------------- labels
@pytest.fixture
def photos(tmp_path):
    """Write images in folders of classes; return the paths of a batch and their labels."""
    files = ['cat/1.png', 'ant/2.png', 'bee/deep/3.png', 'cat/4.png']
    for name in files:
        file = tmp_path / 'gt' / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (16, 16)).save(file)
    (tmp_path / 'list.csv').write_text('path,label\n' + ''.join(f'{name},{name[0]}\n' for name in files))
    return [str(tmp_path / 'gt' / name) for name in files], [2, 0, 1, 2]


@pytest.mark.parametrize('keys, order', [
    ({}, [0, 1, 2]), ({'labels': '{}/list.csv'}, [0, 1, 2]), ({'classes': ['cat', 'ant', 'bee']}, [1, 2, 0]),
    ({'labels': '{}/list.csv', 'classes': ['b', 'c', 'a']}, [2, 0, 1])], ids=str)
def test_the_label_of_each_image_reaches_the_loss(build, photos, tmp_path, keys, order):
    paths, label = photos
    keys = {key: value.format(tmp_path) if isinstance(value, str) else value for key, value in keys.items()}
    model, data = build(PIXEL, {**LABELED, **keys}), batch(4, paths)
    model.feed_data(data)
    assert_equal(gradients(model), expected_gradients(model, data, cross_entropy([order[one] for one in label])))


def test_validation_is_left_alone(build, photos):
    paths, label = photos
    model, data = build(PIXEL, LABELED), batch(4, paths)
    model.feed_data(data)
    model.is_train = False
    model.feed_data(batch(1))  # no paths, and none are asked for
    model.is_train = True
    model.feed_data(data)
    assert_equal(gradients(model), expected_gradients(model, data, cross_entropy(label)))


def test_images_of_several_folders_have_one_list_of_classes(build, photos, tmp_path):
    file = tmp_path / 'more' / 'ant' / '9.png'
    file.parent.mkdir(parents=True)
    Image.new('RGB', (16, 16)).save(file)
    model = build(PIXEL, LABELED, data={'dataroot_gt': [str(tmp_path / 'gt'), str(tmp_path / 'more')]})
    assert model.losses['l_g_recog'].labels.of([*photos[0], str(file)]).tolist() == [*photos[1], 0]


def test_a_list_of_images_says_which_need_labels(build, photos, tmp_path):
    (tmp_path / 'gt' / 'without.png').write_bytes((tmp_path / 'gt' / 'cat' / '1.png').read_bytes())
    with pytest.raises(OptionError, match="train.losses.RecogLoss.labels: expected one folder per class in .*without"):
        build(PIXEL, LABELED)
    (tmp_path / 'list.txt').write_text('cat/1.png (16,16,3)\nant/2.png (16,16,3)\nbee/deep/3.png (16,16,3)\n')
    labels = build(PIXEL, LABELED, data={'meta_info': str(tmp_path / 'list.txt')}).losses['l_g_recog'].labels
    assert labels.of(photos[0][:2]).tolist() == [2, 0]
    with pytest.raises(OptionError, match="no label for '.*4.png'"):
        labels.of(photos[0])


def test_labels_are_used_once(build, photos):
    model, data = build(PIXEL, LABELED), batch(4, photos[0])
    model.feed_data(data)
    model.optimize_parameters(1, 0, True)
    with pytest.raises(ValueError, match='no labels for this batch. Start the training with python -m ra_plugin.hosts'):
        model.optimize_parameters(2, 0, True)


@pytest.mark.parametrize('options, message', [
    ({'train': {'use_moa': True}}, 'RecogLoss.labels: train.use_moa mixes images of different classes. Use RecogC'),
    ({'data': {'io_backend': {'type': 'lmdb'}}}, 'RecogLoss.labels: datasets.train.io_backend gives no paths'),
    ({'data': {'dataroot_gt': None}}, 'RecogLoss.labels: datasets.train has no dataroot_gt'),
    ({'data': {'mean': [0.5] * 3, 'std': [0.5] * 3}}, 'datasets.train: mean and std: expected none')], ids=str)
def test_trainings_whose_images_have_no_labels_are_refused(build, photos, options, message):
    with pytest.raises(OptionError, match=message):
        build(PIXEL, LABELED, **options)


@pytest.mark.parametrize('options, message', [
    ({'train': {'total_iter': 3, 'eco': {'enabled': True}}}, 'x.labels: train.eco trains on mixtures'),
    ({'high_order_degradation': True}, 'x.labels: high_order_degradation draws images from a pool')], ids=str)
def test_models_that_change_the_batch_are_refused(host, tmp_path, options, message):
    read, _ = host
    block = {'name': 'test', 'scale': 2, 'num_gpu': 0, 'path': {}, 'train': {'total_iter': 3},
             'datasets': {'train': {'name': 'photos', 'type': 'PairedImageDataset', 'dataroot_gt': 'gt'}}}
    (tmp_path / 'train.yml').write_text(yaml.safe_dump(block))
    check_labels_last(read(str(tmp_path / 'train.yml'))[0], 'x')
    (tmp_path / 'train.yml').write_text(yaml.safe_dump({**block, **options}))
    with pytest.raises(OptionError, match=message):
        check_labels_last(read(str(tmp_path / 'train.yml'))[0], 'x')


def test_batches_without_paths_are_refused(build, photos):
    model = build(PIXEL, LABELED)
    with pytest.raises(OptionError, match='RecogLoss: expected batches with gt_path, got gt, lq'):
        model.feed_data(batch())


@pytest.mark.slow  # timm
def test_classes_are_those_of_the_recognizer(build, photos):
    with pytest.raises(OptionError, match='RecogLoss.labels: 3 classes, but .* tells 2 apart'):
        build(PIXEL, {**LABELED, 'recognizer': {'type': 'TimmRecognizer', 'model_name': 'test_resnet',
                                                'pretrained': False, 'model_kwargs': {'num_classes': 2}}})


# ---------------------------------------------------------------- blocks
@pytest.mark.parametrize('kind, block, message', [
    (RecogConsistencyLoss, {'recognizr': TINY}, "^train.losses.RecogConsistencyLoss: unknown key 'recognizr'. Did you"),
    (RecogConsistencyLoss, {'labels': 'folders'}, "unknown key 'labels'"),
    (RecogLoss, {'recognizer': TINY, 'lables': 'folders'}, "unknown key 'lables'. Did you mean 'labels'"),
    (RecogLoss, {'recognizer': TINY}, "^train.losses.RecogLoss: 'labels' is missing. Write labels: folders"),
    (RecogConsistencyLoss, {}, "'recognizer' is missing"),
    (RecogConsistencyLoss, {'recognizer': TINY, 'loss_weight': -1.0},
     'RecogConsistencyLoss.loss_weight: expected a number >= 0, got -1.0: a negative one means here to compare'),
    (RecogConsistencyLoss, {'recognizer': TINY, 'loss_weight': '1e-3'}, "write '!!float 1e-3'"),
    (RecogConsistencyLoss, {'recognizer': TINY, 'loss_weight': float('nan')}, 'loss_weight: expected'),
    (RecogConsistencyLoss, {'recognizer': TINY, 'reduction': 'none'}, 'reduction: expected mean or sum'),
    (RecogConsistencyLoss, {'recognizer': {**TINY, 'trainable': True}}, 'recognizer.trainable: no optimizer here'),
    (RecogConsistencyLoss, {'recognizer': {'type': 'TimRecognizer'}},
     "^train.losses.RecogConsistencyLoss.recognizer.type: no recognizer 'TimRecognizer'. Did you mean"),
    (RecogConsistencyLoss, {'recognizer': TINY, 'distance': 'l1', 'temperature': 3.0},
     '^train.losses.RecogConsistencyLoss.temperature: expected'),
    (RecogFeatureLoss, {'recognizer': TINY, 'layer_weights': {'9': 1.0}}, 'RecogFeatureLoss.layer_weights: '),
    (RecogLoss, {'recognizer': {**TINY, 'module': 'torch.nn.Identity', 'task': 'segmentation'}, 'labels': 'folders'},
     'labels are classes of images here, and .* does segmentation')], ids=str)
def test_a_wrong_block_is_one_line(kind, block, message):
    with pytest.raises(ValueError, match=message) as caught:
        kind(**block)
    assert '\n' not in str(caught.value)


def test_the_keys_are_those_of_the_losses():
    loss = RecogConsistencyLoss(recognizer=TINY, loss_weight=1e-3, distance='kl', temperature=3.0, reduction='sum')
    assert (loss.loss_weight, loss.loss.loss_weight, loss.loss.temperature, loss.loss.reduction) == (1e-3, 1, 3, 'sum')
    assert RecogFeatureLoss(recognizer=TINY, layer_weights={'0': 1.0}).loss_weight == 1


def test_a_second_loss_of_a_type_is_refused(build):
    with pytest.raises(OptionError, match='train.losses: expected one RecogConsistencyLoss, got 2: traiNNer-redux kee'):
        build(PIXEL, KL, {**KL, 'type': 'recogconsistencyloss'})
    build(PIXEL, KL, {**KL, 'loss_weight': 0})  # which is left out


# ---------------------------------------------------------------- the program
@pytest.fixture
def run(tmp_path, monkeypatch):
    """Return a function that runs the stand-in's program with the losses of an option file."""

    def run(*losses, words=None):
        block = {'scale': 2, 'datasets': {'train': {}}, 'train': {'losses': losses}}
        (tmp_path / 'x.yml').write_text(yaml.safe_dump(block))
        known = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition('.')[0] == 'traiNNer'}
        monkeypatch.setattr(sys, 'path', [folder for folder in sys.path if folder not in (str(STUB), CHECKOUT)])
        try:
            with importable(HERE):
                return trainner_redux.main(words or [str(STUB / 'train.py'), '-opt', str(tmp_path / 'x.yml')])
        finally:
            sys.modules.update(known)

    return run


def test_the_program_runs_with_the_losses(run, capsys):
    assert run(PIXEL, KL) == 0
    steps = capsys.readouterr().out.splitlines()
    assert len(steps) == 3 and all("'l_g_l1': " in line and "'l_g_recogconsistency': " in line for line in steps)


def test_an_error_of_ours_is_one_line(run, capsys, monkeypatch):
    monkeypatch.delenv('RA_PLUGIN_DEBUG', raising=False)
    assert run({**KL, 'distanse': 'l1'}) == 2
    line, = capsys.readouterr().err.splitlines()
    assert line.startswith('ra_plugin.hosts.trainner_redux: train.losses.RecogConsistencyLoss: unknown key '
                           "'distanse'. Did you mean 'distance'? Known: recognizer, loss_weight, ")


def test_an_error_of_the_host_is_its_own(run):
    with pytest.raises(KeyError):
        run({'type': 'NoLoss', 'loss_weight': 1.0})


@pytest.mark.parametrize('words, code, message', [
    (['no.py'], 2, "no program 'no.py'. usage: python -m ra_plugin.hosts.trainner_redux train.py"),
    ([str(HERE / 'tiny_classifier.py')], 2, 'no package traiNNer beside the program. usage: '),
    (['--help'], 0, 'usage: python -m ra_plugin.hosts.trainner_redux')], ids=str)
def test_what_is_started_has_to_be_there(run, capsys, monkeypatch, words, code, message):
    monkeypatch.delenv('RA_PLUGIN_DEBUG', raising=False)
    assert run(PIXEL, words=words) == code
    written = capsys.readouterr()
    assert message in written.out + written.err
