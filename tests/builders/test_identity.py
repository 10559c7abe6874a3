"""What an option block means, however it is written, and which files count for what it builds."""
import copy
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import ra_plugin.basicsr  # noqa: F401  (registers)
from ra_plugin.builders.identity import (
    canonical,
    contents,
    digest,
    folder_identity,
    members,
    named_files,
    same_network,
    weights_digest,
)
from ra_plugin.builders.named_sources import config_files, module_files, onnx_files
from ra_plugin.builders.option_paths import resolve_paths
from ra_plugin.evaluation.options import ANNOTATIONS
from ra_plugin.evaluation.used_recognizers import not_among, trained_with, used_names
from ra_plugin.option_types import CacheFolder, FilePath, WeightsPath
from ra_plugin.registry import RECOGNIZER_REGISTRY


@pytest.fixture
def weights(tmp_path):
    for name in ('a', 'b'):
        (tmp_path / f'{name}.safetensors').write_bytes(name.encode() * 9)
    return tmp_path


def judge(checkpoint, **more):
    return {'type': 'ModuleRecognizer', 'module': 'colleague.Net', 'checkpoint': str(checkpoint), **more}


# ---------------------------------------------------------------------------------------- the one form of a block
def test_defaults_paths_numbers_and_sequences_have_one_form(weights, monkeypatch):
    monkeypatch.chdir(weights)
    monkeypatch.setenv('HOME', str(weights))
    (weights / 'link').symlink_to(weights)
    expected = canonical(judge(weights / 'a.safetensors', mean=[0, 0, 0], input_size=32))
    for path in ('a.safetensors', './a.safetensors', '~/a.safetensors', weights / 'link' / 'a.safetensors'):
        block = judge(path, fit='crop', feature_layer=None, input_size=32.0, mean=(0.0, 0.0, 0.0))
        assert canonical(dict(reversed(block.items()))) == expected
    assert canonical(judge('a.safetensors', fit='stretch')) != expected


def test_blocks_within_blocks_have_their_defaults_too():
    noise = {'type': 'Compose', 'steps': [{'type': 'BicubicDownsample', 'scale': 2}]}
    spelled = {'type': 'Compose', 'steps': [canonical(noise['steps'][0])]}
    assert set(spelled['steps'][0]) >= {'type', 'scale'} and canonical(spelled) == canonical(noise)
    inner = {'type': 'EnsembleRecognizer', 'recognizers': [judge('x')]}
    outer = {'type': 'EnsembleRecognizer', 'recognizers': [inner], 'seed': 0}
    assert canonical(outer) == canonical({**outer, 'recognizers': [{**inner, 'sample': None}]})


def test_names_of_classes_are_no_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'cat').touch()
    block = judge('x', classes=['cat', 'dog'])
    assert canonical(block)['classes'] == ['cat', 'dog'] and not named_files(block)


# ------------------------------------------------------------------------------------------------------- what was used
def run_of(*recognizers, **more):
    return {'name': 'run', 'train': {'recog_opt': [{'type': 'RecogLoss', 'recognizer': block, **more}
                                                   for block in recognizers]}}


@pytest.mark.parametrize('wrap', [
    lambda block: block, lambda block: {'type': 'EnsembleRecognizer', 'recognizers': [block, judge('other.pth')]},
    lambda block: {'type': 'EnsembleRecognizer', 'recognizers': [
        {'type': 'EnsembleRecognizer', 'recognizers': [block]}]}])
@pytest.mark.parametrize('written', ['weights/a.safetensors', '~/weights/a.safetensors', 'absolute', 'copied'])
def test_a_recognizer_is_known_however_its_file_writes_it(tmp_path, monkeypatch, wrap, written):
    (tmp_path / 'weights').mkdir()
    for name, content in (('a', b'a' * 9), ('b', b'b' * 9), ('same as a', b'a' * 9)):
        (tmp_path / 'weights' / f'{name}.safetensors').write_bytes(content)
    monkeypatch.setenv('HOME', str(tmp_path))
    path = {'absolute': str(tmp_path / 'weights/a.safetensors'),
            'copied': str(tmp_path / 'weights/same as a.safetensors')}.get(written, written)
    judges = {'a': judge(tmp_path / 'weights/a.safetensors', input_size=32),
              'b': judge(tmp_path / 'weights/b.safetensors', input_size=32)}
    for folder in (tmp_path, tmp_path / 'weights', Path('/')):
        monkeypatch.chdir(folder)
        used = trained_with(run_of(wrap(judge(path, input_size=[32, 32], fit='crop'))), tmp_path, tmp_path)
        assert used_names(used, judges) == ['a']
        assert used_names(used, {'both': {'type': 'EnsembleRecognizer', 'recognizers': list(judges.values())}}) == [
            'both']


def test_how_images_reach_a_network_does_not_make_it_another():
    detector = {'type': 'MMDetRecognizer', 'config': 'fcos_r50', 'pretrained': True}
    assert same_network({**detector, 'resize': 2.0}, detector)
    assert not same_network({**detector, 'config': 'yolox_s'}, detector)
    timm = {'type': 'TimmRecognizer', 'model_name': 'resnet18', 'pretrained': True}
    assert same_network({**timm, 'model_kwargs': {}}, {**timm, 'fit': 'stretch'})
    assert not same_network(timm, {**timm, 'model_name': 'resnet34'})


def test_a_recognizer_that_learned_with_the_restorer_was_used(tmp_path):
    (tmp_path / 'models').mkdir()
    for name in ('models/net_r_latest.pth', 'start.pth'):
        (tmp_path / name).write_text(name)
    used = trained_with(run_of(judge(tmp_path / 'start.pth', trainable=True)), tmp_path, tmp_path)
    judges = {'before': judge(tmp_path / 'start.pth'), 'after': judge(tmp_path / 'models/net_r_latest.pth'),
              'other': judge(tmp_path / 'none.pth')}
    assert used_names(used, judges) == ['before', 'after']


def test_what_was_used_and_does_not_judge_is_named(weights):
    used = trained_with(run_of(judge(weights / 'a.safetensors')), weights, weights)
    assert not_among(used, {'b': judge(weights / 'b.safetensors')}) == ['ModuleRecognizer Net (a.safetensors)']
    assert not not_among(used, {'a': judge(weights / 'a.safetensors')})
    assert trained_with({'name': 'plain', 'train': {}}, weights, weights) == []


def test_members_are_those_at_any_depth():
    blocks = [judge(name) for name in 'abc']
    nested = {'type': 'EnsembleRecognizer', 'recognizers': [
        blocks[0], {'type': 'EnsembleRecognizer', 'recognizers': blocks[1:]}]}
    assert members(nested) == blocks and members(blocks[0]) == [blocks[0]] and members('x') == []


# ------------------------------------------------------------------------------------------------------------- digests
def test_digests_differ_where_values_do():
    values = [1, 1.5, '1', True, None, [], {}, [1, 2], [[1], 2], ['12'], ['1', '2'], {'a': 1}, {'a': 2}, {'b': 1},
              np.zeros(2), np.zeros((2, 1)), np.zeros(2, int), np.array([0, 1.0])]
    assert len({digest(value) for value in values}) == len(values)
    assert digest({'a': 1, 'b': [2]}) == digest({'b': (2,), 'a': 1})


def test_weights_are_known_by_every_parameter_and_buffer():
    def net(**changes):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2))
        for name, value in changes.items():
            getattr(network[1], name).fill_(value)
        return network

    assert weights_digest(net()) == weights_digest(net())
    with torch.no_grad():
        assert len({weights_digest(net(**change)) for change in (
            {}, {'running_mean': 1}, {'running_var': 2}, {'weight': 3}, {'bias': 4})}) == 5


# --------------------------------------------------------------------------------------------------------- named files
def touched(path):
    path.write_text(path.read_text() + '\n# changed')


def test_a_config_counts_with_those_that_it_is_based_on(tmp_path):
    (tmp_path / 'base').mkdir()
    (tmp_path / 'base/deep.py').write_text('a = 1')
    (tmp_path / 'base/model.py').write_text("_base_ = './deep.py'")
    (tmp_path / 'base/new.py').write_text('b = 2')
    (tmp_path / 'mine.py').write_text("_base_ = ['base/model.py', 'elsewhere::x.py']\nwith read_base():\n"
                                      '    from .base.new import *\n')
    found = {path.name for path in config_files(str(tmp_path / 'mine.py'))}
    assert found == {'mine.py', 'model.py', 'deep.py', 'new.py'}
    block = {'type': 'MMDetRecognizer', 'config': str(tmp_path / 'mine.py')}
    before = named_files(block)
    touched(tmp_path / 'base/deep.py')
    assert named_files(block) != before and config_files('retinanet_r50') == []


def test_code_counts_with_what_it_imports_from_beside_it(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / 'package').mkdir()
    for name, code in (('package/__init__', ''), ('package/net', 'from .layers import Layer\nimport torch'),
                       ('package/layers', 'import helpers'), ('package/unused', ''), ('helpers', '')):
        (tmp_path / f'{name}.py').write_text(code)
    found = {str(path.relative_to(tmp_path)) for path in module_files('package.net.Net')}
    assert found == {'package/__init__.py', 'package/net.py', 'package/layers.py', 'helpers.py'}
    assert module_files('torch.nn.Module') == [] and module_files('ra_plugin.recognizers.tiny_nets.TinyVGG') == []
    assert module_files('no_such_module.Net') == []


def test_weights_beside_an_onnx_file_count(tmp_path):
    (tmp_path / 'net.onnx').write_bytes(b'...location..net.data...')
    for name in ('net.data', 'notes.txt'):
        (tmp_path / name).write_text(name)
    assert [path.name for path in onnx_files(str(tmp_path / 'net.onnx'))] == ['net.data']
    block = {'type': 'OnnxRecognizer', 'file': str(tmp_path / 'net.onnx')}
    before = named_files(block)
    touched(tmp_path / 'notes.txt')
    assert named_files(block) == before
    touched(tmp_path / 'net.data')
    assert named_files(block) != before


@pytest.mark.slow
def test_a_folder_of_ten_thousand_files_takes_less_than_a_second(tmp_path):
    for folder in range(10):
        (tmp_path / str(folder)).mkdir()
        for i in range(1000):
            os.close(os.open(tmp_path / str(folder) / f'{i}.png', os.O_CREAT))
    (tmp_path / '.hidden').touch()
    started = time.process_time()
    before = folder_identity(tmp_path)
    assert time.process_time() - started < 1 and len(before[1]) == 10000
    (tmp_path / '.hidden').unlink()
    assert folder_identity(tmp_path) == before
    (tmp_path / '3' / '5.png').write_text('x')
    assert folder_identity(tmp_path) != before


# ------------------------------------------------------------------------------------------- which values are paths
class Own:
    def __init__(self, checkpoint: str, weights: Path, either: WeightsPath, module_kwargs: Mapping[str, Any],
                 cache: CacheFolder = '', inner: FilePath | Sequence[str] = ()):
        pass


def test_paths_are_what_is_annotated_as_such_however_the_key_is_spelled(tmp_path, monkeypatch):
    monkeypatch.setattr(RECOGNIZER_REGISTRY, '_entries', {**RECOGNIZER_REGISTRY._entries, 'Own': Own})
    (tmp_path / 'elsewhere').mkdir()
    monkeypatch.chdir(tmp_path / 'elsewhere')
    for name in ('net.onnx', 'owner.name'):
        (tmp_path / name).touch()
    (tmp_path / 'hub').mkdir()
    opt = {'own': {'type': 'Own', 'checkpoint': 'owner.name', 'weights': 'net.onnx', 'either': 'owner/name',
                   'module_kwargs': {'config': 'net.onnx', 'labels': 'x.csv'}, 'cache': 'answers', 'inner': ['hub']},
           'more': [{'type': 'Own', 'weights': 'https://x/net.onnx', 'either': 'hub', 'inner': 'hub'},
                    {'type': 'Own', 'weights': 'new.onnx', 'either': 'new.pth', 'cache': 'hub'},
                    {'type': 'Own', 'either': 'hf-hub:timm/resnet18.a1_in1k'}],
           'untyped': {'checkpoint': 'net.onnx', 'config_name': 'net.onnx'},
           'unknown': {'type': 'NoSuchClass', 'checkpoint': 'net.onnx'}}
    expected = copy.deepcopy(opt)
    expected['own']['weights'] = str(tmp_path / 'net.onnx')
    expected['more'][0]['inner'] = str(tmp_path / 'hub')
    expected['more'][1].update(weights=str(tmp_path / 'new.onnx'), either=str(tmp_path / 'new.pth'),
                               cache=str(tmp_path / 'hub'))
    resolve_paths(opt, tmp_path)
    assert opt == expected


def test_blocks_without_a_type_are_known_by_their_annotation(tmp_path):
    opt = {'restorers': {'RA': {'option_file': 'run.yml', 'checkpoint': ['a.pth', 'b.pth'], 'method': 'a.pth'}},
           'quality_metrics': {'lpips': {'pretrained_model_path': 'lpips.pth'}, 'dists': None}}
    resolve_paths(opt, tmp_path, ANNOTATIONS)
    assert opt['restorers']['RA'] == {'option_file': str(tmp_path / 'run.yml'), 'method': 'a.pth',
                                      'checkpoint': [str(tmp_path / 'a.pth'), str(tmp_path / 'b.pth')]}
    assert opt['quality_metrics']['lpips'] == {'pretrained_model_path': str(tmp_path / 'lpips.pth')}


def test_networks_without_a_file_differ_where_their_classes_do():
    block = {'type': 'ModuleRecognizer', 'module': 'colleague.Net'}
    assert same_network({**block, 'classes': ['a', 'b']}, {**block, 'classes': ('a', 'b')})
    assert same_network(block, {**block, 'classes': ['a', 'b']})
    assert not same_network({**block, 'classes': ['a', 'b']}, {**block, 'classes': ['c', 'd']})


# ---------------------------------------------------------------------------------------------- models in folders
def model_folder(folder, weights=b'w' * 64, config='{"hidden_size": 16}', processor='{"size": 32}'):
    folder.mkdir(exist_ok=True)
    for name, content in (('model.safetensors', weights), ('config.json', config.encode()),
                          ('preprocessor_config.json', processor.encode())):
        (folder / name).write_bytes(content)
    return {'type': 'TransformersRecognizer', 'model': str(folder)}


@pytest.mark.parametrize('change', [{'weights': b'v' * 64}, {'config': '{"hidden_size": 32}'}])
def test_a_folder_of_a_model_is_known_by_its_content(tmp_path, change):
    first = model_folder(tmp_path / 'a')
    assert same_network(first, model_folder(tmp_path / 'copied'))
    assert same_network(first, {**model_folder(tmp_path / 'at another size', processor='{"size": 48}'), 'resize': 2.0})
    assert not same_network(first, model_folder(tmp_path / 'another', **change))
    assert not same_network(first, {**model_folder(tmp_path / 'copied'), 'pretrained': False})
    assert not same_network(first, {**first, 'model': 'google/vit-base-patch16-224'})
    kept, named = contents(first), named_files(first)
    times = {path: path.stat() for path in (tmp_path / 'a').iterdir()}
    for further in ({}, change):
        model_folder(tmp_path / 'a', **further)
        for path, state in times.items():
            os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
        assert (contents(first) == kept, named_files(first) == named) == (not further, not further)


def test_a_folder_of_images_is_not_read(tmp_path):
    (tmp_path / 'images').mkdir()
    (tmp_path / 'images' / 'a.png').write_bytes(b'a' * 9)
    block = {'type': 'LabeledImageDataset', 'dataroot_gt': str(tmp_path / 'images')}
    kept = contents(block)
    (tmp_path / 'images' / 'a.png').write_bytes(b'b' * 9)
    assert contents(block) == kept
