"""Records that are kept: whatever changes is judged anew, and nothing else; results are those of a fresh start."""
import copy
import os
import sys

import numpy as np
import pytest
import torch
import yaml
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from small_evaluation import CODE, COUNT, Counted, make, recognizer, rounded, save_weights

from ra_plugin.evaluation.judging import Judging
from ra_plugin.evaluation.records import OtherRecords
from ra_plugin.evaluation.reuse import KnownImages, Plan, Reusing
from ra_plugin.evaluation.run import Evaluation
from ra_plugin.report.markdown import to_markdown


@pytest.fixture
def opt(tmp_path):
    return make(tmp_path)


def test_images_that_are_not_read_need_complete_records():
    judging = Judging(processings={}, recognizers={}, metrics={}, baseline='plain')
    plan = Plan(units={('plain', 0, ''): 'a unit'}, baseline=['its image'], numbers=[7], images=['an image'],
                audited=frozenset(), restored={})
    with pytest.raises(RuntimeError, match=r'^images 7 to 7: expected complete earlier records, got a part\. .*--rest'):
        Reusing(judging, plan, [])(KnownImages([7]))


@pytest.fixture
def run(tmp_path, monkeypatch):
    return Counted(tmp_path, monkeypatch)


def everything(opt):
    return (2 + len(opt['restorers'])) * len(opt['recognizers']) * COUNT


@pytest.mark.slow
def test_the_same_evaluation_judges_nothing(opt, run):
    first = run(opt)
    assert len(run.asked) == everything(opt)
    assert run(opt) == first and not run.asked


@pytest.mark.slow
def test_one_mended_image_is_judged_alone(opt, run, tmp_path):
    run(opt)
    file = tmp_path / 'images' / 'b' / '04.png'
    Image.fromarray(255 - np.asarray(Image.open(file))).save(file)
    run.same_as_anew(opt)
    assert {number for number, *_ in run.asked} == {5}  # a has four images


@pytest.mark.slow
def test_an_image_with_the_same_size_and_time_of_content_is_another(opt, run, tmp_path):
    run(opt)
    file, other = (tmp_path / 'images' / 'b' / name for name in ('04.png', '07.png'))
    state = file.stat()
    file.write_bytes(other.read_bytes())
    os.truncate(file, state.st_size)
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
    run(opt)
    assert {number for number, *_ in run.asked} == {5}


@pytest.mark.slow
def test_a_broken_image_is_named_before_anything_is_judged_and_the_rest_is_kept(opt, run, tmp_path):
    run(opt)
    file = tmp_path / 'images' / 'c' / '11.png'
    whole = file.read_bytes()
    file.write_bytes(whole[:100])
    with pytest.raises(ValueError, match='c/11.png: expected an image'):
        run(opt)
    assert not run.asked
    file.write_bytes(whole)
    run.same_as_anew(opt)
    assert {number for number, *_ in run.asked} == {11}


@pytest.mark.slow
def test_one_restored_image_is_judged_alone(opt, run, tmp_path):
    run(opt)
    Image.new('RGB', (12, 12), 'red').save(tmp_path / 'RA' / 'a' / '03.png')
    run.same_as_anew(opt)
    assert {(number, name) for number, name, _ in run.asked} >= {(1, 'RA')} and {n for n, *_ in run.asked} == {1}


@pytest.mark.slow
def test_another_baseline_asks_no_recognizer(opt, run):
    run(opt)
    opt['baseline'] = 'RA'
    run.same_as_anew(opt)
    assert {judge for *_, judge in run.asked} == {''}  # spectra are differences to the baseline


@pytest.mark.slow
def test_without_a_baseline_its_views_are_judged(opt, run):
    run(opt)
    opt['baseline'] = 'no processing'
    run.same_as_anew(opt)


@pytest.mark.slow
@pytest.mark.parametrize('change', ['added', 'removed', 'renamed'])
def test_recognizers_come_and_go(opt, run, tmp_path, change):
    run(opt)
    save_weights(tmp_path / 'three.safetensors', 2)
    if change == 'added':
        opt['recognizers'] = {'three': recognizer(tmp_path / 'three.safetensors'), **opt['recognizers']}
    else:
        block = opt['recognizers'].pop('one')
        if change == 'renamed':
            opt['recognizers']['first'] = block
    run.same_as_anew(opt)
    assert {judge for *_, judge in run.asked} == ({'three'} if change == 'added' else set())


@pytest.mark.slow
def test_a_recognizer_that_was_away_for_a_run_is_still_known(opt, run):
    first = run(opt)
    block = opt['recognizers'].pop('one')
    run(opt)
    opt['recognizers'] = {'one': block, **opt['recognizers']}
    assert run(opt) == first and not run.asked


@pytest.mark.slow
@pytest.mark.parametrize('change', ['added', 'removed', 'renamed'])
def test_restorers_come_and_go(opt, run, tmp_path, change):
    run(opt)
    if change == 'added':
        opt['restorers']['clean again'] = {'folder': str(tmp_path / 'images')}
    else:
        block = opt['restorers'].pop('RA')
        if change == 'renamed':
            opt['restorers']['better'] = block
    run.same_as_anew(opt)
    asked = {name for _, name, _ in run.asked}
    assert 'RA' not in asked and ('clean again' in asked) == (change == 'added') and 'no processing' not in asked


@pytest.mark.slow
@pytest.mark.parametrize('audit', [0, 2, 5, 12])
def test_another_number_of_audited_images(opt, run, audit):
    run(opt)
    opt['audit'] = audit
    run.same_as_anew(opt)
    assert len({number for number, *_ in run.asked}) <= audit


@pytest.mark.slow
def test_images_can_be_fewer_and_more(opt, run):
    opt['images'] = 5
    run(opt)
    opt['images'] = 9
    run.same_as_anew(opt)
    assert len({number for number, *_ in run.asked}) < 9


@pytest.mark.slow
def test_a_stop_in_the_middle_of_reuse_goes_on(opt, run, tmp_path, monkeypatch):
    opt['audit'] = COUNT
    run(opt)
    opt['baseline'] = 'RA'
    calls = []
    counted = Judging.__call__

    def stopped(judging, batch):
        calls.append(batch)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return counted(judging, batch)

    monkeypatch.setattr(Judging, '__call__', stopped)
    with pytest.raises(KeyboardInterrupt):
        run(opt)
    del opt['recognizers']['two']
    run.same_as_anew(opt)


def weights_of_a_member(opt, root):
    save_weights(root / 'one.safetensors', 2)


def code_of_the_module(opt, root):
    (root / 'own_net.py').write_text(CODE.replace('images.mean((2, 3))', 'images.amax((2, 3))'))


@pytest.mark.slow
@pytest.mark.parametrize('change', [weights_of_a_member, code_of_the_module])
def test_what_an_ensemble_within_an_ensemble_is_made_of_counts(opt, run, tmp_path, monkeypatch, change):
    inner = {'type': 'EnsembleRecognizer', 'recognizers': [opt['recognizers']['one']]}
    opt['recognizers']['two'] = {'type': 'EnsembleRecognizer', 'recognizers': [inner, opt['recognizers']['two']]}
    run(opt)
    change(opt, tmp_path)
    monkeypatch.delitem(sys.modules, 'own_net')  # as in another process
    monkeypatch.setattr(sys, 'dont_write_bytecode', True)
    run.same_as_anew(opt)
    assert {judge for *_, judge in run.asked} == {'one', 'two'}


def onnx_file(path, favorite):
    """A judge in onnxruntime that answers a class: no network of torch has its weights."""
    bias = numpy_helper.from_array(np.eye(3, dtype=np.float32)[favorite], 'bias')
    nodes = [helper.make_node('GlobalAveragePool', ['images'], ['pooled']),
             helper.make_node('Flatten', ['pooled'], ['colors']),
             helper.make_node('Add', ['colors', 'bias'], ['logits'])]
    ends = [helper.make_tensor_value_info('images', TensorProto.FLOAT, ['N', 3, 12, 12]),
            helper.make_tensor_value_info('logits', TensorProto.FLOAT, ['N', 3])]
    path.write_bytes(helper.make_model(
        helper.make_graph(nodes, 'g', ends[:1], ends[1:], [bias]),
        opset_imports=[helper.make_opsetid('', 13)], ir_version=8).SerializeToString())
    return {'type': 'OnnxRecognizer', 'file': str(path), 'mean': [0.5] * 3, 'std': [0.25] * 3, 'differentiable': False}


@pytest.mark.slow
@pytest.mark.parametrize('nested', [False, True])
def test_a_model_file_that_is_replaced_counts(opt, run, tmp_path, nested):
    path = tmp_path / 'net.onnx'
    block = onnx_file(path, 0)
    opt['recognizers']['two'] = {'type': 'EnsembleRecognizer', 'recognizers': [block]} if nested else block
    run(opt)
    size = path.stat().st_size
    onnx_file(path, 1)
    assert path.stat().st_size == size
    run.same_as_anew(opt)
    assert {judge for *_, judge in run.asked} == {'two'}


@pytest.mark.slow
def test_labels_that_changed_count(opt, run, tmp_path):
    names = sorted(str(path.relative_to(tmp_path / 'images')) for path in (tmp_path / 'images').rglob('*.png'))

    def label(labels):
        (tmp_path / 'labels.csv').write_text(''.join(f'{name},{number}\n'
                                                     for name, number in zip(names, labels, strict=True)))

    opt['datasets']['d'] = {'type': 'LabeledImageDataset', 'dataroot_gt': str(tmp_path / 'images'),
                            'meta_info': str(tmp_path / 'labels.csv')}
    labels = [0, 1, 2] * 4
    label(labels)
    run(opt)
    label([*labels[:-1], 0])  # one mended label
    run.same_as_anew(opt)
    assert {number for number, *_ in run.asked} == {11}
    label([2, 1, 0] * 4)
    run.same_as_anew(opt)
    label([1] * 11 + [2])
    label([(number + 1) % 3 for number in [2, 1, 0] * 4])  # every one
    with pytest.raises(OtherRecords, match='--restart'):
        run(opt)


@pytest.mark.slow
def test_images_that_all_changed_are_another_evaluation(opt, run, tmp_path):
    run(opt)
    for path in (tmp_path / 'images').rglob('*.png'):
        Image.new('RGB', (12, 12), 'gray').save(path)
    with pytest.raises(OtherRecords, match='--restart'):
        run(opt)
    first = run(opt, restart=True)
    assert rounded(first) == rounded(run(opt, 'anew'))


def test_another_version_is_another_evaluation(opt, run, monkeypatch):
    run(opt)
    monkeypatch.setattr('ra_plugin.evaluation.record_plan.__version__', '99')
    with pytest.raises(OtherRecords, match='or of another version'):
        run(opt)


@pytest.mark.slow
def test_the_folder_it_is_started_from_does_not_count(opt, run, tmp_path, monkeypatch):
    first = run(opt)
    monkeypatch.chdir(tmp_path)
    for block in (opt['datasets']['d'], *opt['restorers'].values(), *opt['recognizers'].values()):
        block.update({key: os.path.relpath(value, tmp_path) for key, value in block.items()
                      if key in ('dataroot_gt', 'folder', 'checkpoint')})
    opt['recognizers']['one'].update(fit='crop', input_size=None)  # the defaults, spelled out
    assert run(opt) == first and not run.asked
    (tmp_path / 'elsewhere').mkdir()
    monkeypatch.chdir(tmp_path / 'elsewhere')
    assert run(opt) == first and not run.asked


@pytest.mark.slow
def test_damaged_earlier_records_are_judged_anew(opt, run, tmp_path):
    run(opt)
    for path in (tmp_path / 'out' / 'records' / '0').glob('*.pt'):
        path.write_bytes(path.read_bytes()[:-50])
    opt['baseline'] = 'RA'
    run.same_as_anew(opt)
    assert len({number for number, *_ in run.asked}) == COUNT


def test_recognizers_used_are_known_from_any_folder_and_others_are_named(opt, run, tmp_path, monkeypatch, capfd):
    """A run's file names its recognizer by a path below the repository, and spells a default out."""
    block = {**opt['recognizers']['one'], 'checkpoint': 'one.safetensors', 'fit': 'crop'}
    training = {'name': 'run', 'network_g': {'type': 'Interpolation', 'upscale': 1}, 'train': {
        'recog_opt': {'type': 'RecogLoss', 'recognizer': {'type': 'EnsembleRecognizer', 'recognizers': [block]}}}}
    (tmp_path / 'run.yml').write_text(yaml.safe_dump(training))
    (tmp_path / 'net.pth').touch()
    opt.update(images=3, audit=0)
    opt['restorers']['RA'] = {'option_file': 'run.yml', 'checkpoint': str(tmp_path / 'net.pth')}
    (tmp_path / 'elsewhere').mkdir()
    monkeypatch.setattr('ra_plugin.builders.run_networks.trained_network', lambda *args: torch.nn.Identity())
    for folder in (tmp_path, tmp_path / 'elsewhere'):
        monkeypatch.chdir(folder)
        evaluation = Evaluation(tmp_path, copy.deepcopy(opt))
        assert evaluation.restorers['RA'].options.used == ['one'] and not evaluation.unmatched
    assert 'held out' not in capfd.readouterr().err
    del opt['recognizers']['one']
    results, _ = Evaluation(tmp_path, copy.deepcopy(opt)).run(tmp_path / 'out')
    assert results.restorers['RA'].also_trained_with == ['ModuleRecognizer Net (one.safetensors)']
    assert 'restorers.RA: none of the recognizers judging was used in its training' in capfd.readouterr().err
    assert 'RA: trained with ModuleRecognizer Net (one.safetensors), not judging' in to_markdown(results)
    opt['restorers']['RA']['used'] = ['two']
    assert Evaluation(tmp_path, copy.deepcopy(opt)).restorers['RA'].options.used == ['two']
    assert not capfd.readouterr().err


@pytest.mark.slow
def test_the_version_of_a_package_counts_that_does_not_tell_it_itself(opt, run, monkeypatch):
    versions = {'own-net-of-somebody': '1.0'}
    monkeypatch.setattr('ra_plugin.evaluation.record_plan._installed', lambda: {'own_net': list(versions)})
    monkeypatch.setattr('importlib.metadata.version', versions.__getitem__)
    first = run(opt)
    assert run(opt) == first and not run.asked
    versions.update({'own-net-of-somebody': '1.1'})
    run.same_as_anew(opt)
    assert {judge for *_, judge in run.asked} == {'one', 'two'}
