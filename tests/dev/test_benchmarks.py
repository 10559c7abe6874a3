"""Bookkeeping of the benchmark; its measurements are not tested."""
import copy
import json
from types import SimpleNamespace

import pytest
import torch
import yaml
from runs import options
from test_evaluation_run import ROOT
from test_shipped_weights import WEIGHTS

from dev.benchmarks import steps
from dev.benchmarks.data import data_benchmark
from dev.benchmarks.evaluation import evaluation_benchmark
from dev.benchmarks.memory import peak_memory
from dev.benchmarks.own_steps import own_steps_benchmark
from dev.benchmarks.timing import Elsewhere, interleaved, ratios
from ra_plugin.degradations.corruptions import CORRUPTIONS

pytestmark = pytest.mark.slow

CPU = torch.device('cpu')


def test_cases_take_turns_and_the_first_round_does_not_count():
    calls = []
    seconds = interleaved({name: lambda name=name: calls.append(name) for name in 'ab'}, 3, CPU)
    assert ''.join(calls) == 'abababab'
    assert set(seconds) == set('ab') and all(len(values) == 3 and min(values) >= 0 for values in seconds.values())


def test_ratios_are_taken_within_the_rounds():
    assert ratios([1, 10, 3], [2, 2, 2]) == pytest.approx((1.5, 0.5, 5))


def test_an_object_elsewhere_answers_fails_and_ends():
    with Elsewhere(dict, {'here': False}) as elsewhere:
        assert elsewhere.call('get', 'here') is False
        with pytest.raises(RuntimeError, match='TypeError'):
            elsewhere.call('get')
        assert elsewhere.call('get', 'more', 1) == 1
        process = elsewhere._process
    assert process.exitcode == 0


def test_that_the_other_process_has_died_is_said():
    with Elsewhere(dict) as elsewhere:
        elsewhere._process.terminate()
        with pytest.raises(RuntimeError, match='has ended with exit status -15'):
            elsewhere.call('get', 'here')


def test_own_part_takes_the_steps_of_an_option_file(tmp_path, monkeypatch):
    """The first is the file's, the others differ from it in what their names say, and nothing is saved."""
    monkeypatch.setattr('sys.argv', ['benchmark.py'])
    built = []
    monkeypatch.setattr('dev.benchmarks.own_steps.step_of', lambda opt: built.append(opt) or steps.step_of(opt))
    opt = options(tmp_path)
    file = tmp_path / 'file.yml'
    file.write_text(yaml.safe_dump(opt))
    figures, table = own_steps_benchmark(tmp_path, file, rounds=1)
    names = ['as it is', 'without recognition', 'channels_last: true', 'reading its images, in one process']
    assert [name for name in figures['cases'] if 'bf16' not in name] == names
    assert figures['images'] == 8 and len(table.splitlines()) == 2 + len(figures['cases'])
    as_it_is, without, last = built[:3]
    assert 'channels_last' not in as_it_is['train'] and last['train']['channels_last'] is True
    assert 'recog_opt' not in without['train'] and 'network_t' not in without
    assert last['train']['recog_opt'] == as_it_is['train']['recog_opt']
    assert {path.name for path in tmp_path.iterdir()} == {'file.yml', 'images'}
    json.dumps(figures)


def test_steps_that_differ_are_taken_together(monkeypatch):
    taken = []
    model = SimpleNamespace(net_g=torch.nn.Identity(), feed_data=taken.append, optimize_parameters=taken.append)
    monkeypatch.setattr(steps, 'build_model', lambda opt: model)
    step = steps.step_of({'train': {'recog_every': 3, 'accum_iter': 2, 'net_d_iters': 2, 'net_d_init_iters': 7}})
    step.take('batch')
    assert step.number == 6
    assert taken == [what for i in range(13, 19) for what in ('batch', i) * 2]


def test_own_part_gives_the_seconds_of_one_step(tmp_path, monkeypatch):
    monkeypatch.setattr('sys.argv', ['benchmark.py'])
    monkeypatch.setattr('dev.benchmarks.own_steps.interleaved', lambda runs, *_: {name: [6.0] for name in runs})
    file = tmp_path / 'file.yml'
    file.write_text(yaml.safe_dump(options(tmp_path, recog_every=3)))
    cases = own_steps_benchmark(tmp_path, file)[0]['cases']
    assert cases['as it is']['seconds'] == 2 and cases['reading its images, in one process']['seconds'] == 6


def test_own_part_leaves_out_what_could_not_train(tmp_path, monkeypatch):
    monkeypatch.setattr('sys.argv', ['benchmark.py'])
    opt = options(tmp_path)
    del opt['train']['pixel_opt'], opt['network_t'], opt['train']['optim_t']
    file = tmp_path / 'file.yml'
    file.write_text(yaml.safe_dump(opt))
    assert 'without recognition' not in own_steps_benchmark(tmp_path, file, rounds=1)[0]['cases']


def test_evaluation_part_has_a_row_for_each_number_of_recognizers():
    figures, table = evaluation_benchmark(ROOT, CPU, rounds=1, images=8, batch_size=8)
    assert list(figures['rows']) == ['1', '2', '3', '4', '5'] and len(table.splitlines()) == 7
    assert set(figures['seconds']) == {f'{case} {k}' for case in ('needed', 'ours') for k in range(1, 6)}
    json.dumps(figures)


def test_data_part_has_a_row_for_each_degradation():
    figures, table = data_benchmark(ROOT, CPU, rounds=1, size=32, repeats=1)
    assert list(figures['rows'])[-len(CORRUPTIONS):] == list(CORRUPTIONS)
    assert all(len(figures['rows'][name]['degradation_ms']) == 5 for name in CORRUPTIONS)
    assert len(table.splitlines()) == 2 + 4 + len(CORRUPTIONS)
    json.dumps(figures)


def test_steps_part_counts_the_arithmetic(monkeypatch):
    """A frozen ResNet needs two of the three passes that careless training makes, and a clean image one more."""
    monkeypatch.setitem(steps.NETWORKS, 'tiny', {'type': 'MSRResNet', 'num_feat': 4, 'num_block': 1, 'upscale': 4})
    monkeypatch.setitem(steps.RECOGNIZERS, 'ResNet', {
        'type': 'TimmRecognizer', 'model_name': 'test_resnet', 'pretrained': False, 'input_size': 64})
    figures, table = steps.steps_benchmark(ROOT, CPU, rounds=1, size=32, pairs=[('tiny', 'ResNet')])
    found = figures['tiny, ResNet']['cases']
    recognition = {case: values['flops'] - found['plain']['flops'] for case, values in found.items()}
    assert recognition['careless'] == pytest.approx(1.5 * recognition['ours'], rel=0.05)
    assert recognition['ours, unsupervised'] == pytest.approx(1.5 * recognition['ours'], rel=0.01)
    assert recognition['ours, unsupervised, cached'] == recognition['ours']
    assert recognition['without gradients of its weights'] == pytest.approx(recognition['ours'], rel=0.01)
    assert found['ours, checkpointed']['flops'] > found['ours']['flops']
    assert found['ours, checkpointed']['kept'] < found['ours']['kept']
    assert found['plain']['to_plain'] == found['careless']['to_careless'] == (1, 1, 1)
    assert found['plain']['kept'] < found['ours']['kept'] < found['careless']['kept']
    assert all(values['kept'] < values['peak'] for values in found.values())
    assert found['ours, checkpointed']['peak'] < found['ours']['peak'] < found['careless']['peak']
    assert found['plain, careless']['flops'] == found['plain']['flops']
    assert found['and with memory kept']['flops'] == found['and with batch norm folded']['flops']
    assert len(table.splitlines()) == 2 + len(found)
    json.dumps(figures)


def test_peak_memory_is_what_is_there_at_the_same_time():
    numbers = torch.ones(2 ** 18, requires_grad=True)  # 1 MiB

    def without_graph():
        first = numbers.detach() + 1
        second = first + 1
        del first
        (second + 1).view(2, -1).sum()

    assert peak_memory(without_graph, CPU) == pytest.approx(2, abs=0.01)
    assert peak_memory(lambda: numbers.exp().exp().exp().sum(), CPU) == pytest.approx(3, abs=0.01)
    # three are kept for the backward pass, which adds a gradient before it frees the first of them
    assert peak_memory(lambda: numbers.exp().exp().exp().sum().backward(), CPU) == pytest.approx(4, abs=0.01)


@pytest.mark.parametrize('has_label', [True, False], ids=['labels', 'unsupervised'])
def test_our_step_has_the_gradient_of_the_careless_one(monkeypatch, has_label):
    """What the recognizer adds to the gradient of the image loss, in all of the network that learns."""
    monkeypatch.setattr(steps, '_LOSS_WEIGHT', 10)  # so that the image loss does not hide what differs
    network = {'type': 'SRResNet', 'upscale': 4, 'num_feat': 8, 'num_block': 2}
    resnet = {'type': 'ModuleRecognizer', 'module': 'ra_plugin.recognizers.tiny_nets.TinyResNet',
              'checkpoint': str(WEIGHTS / 'cifar10_resnet.safetensors'), 'input_size': 32}
    cases = steps._ours(network, resnet, CPU, compiled=False)
    ours = cases['ours' if has_label else 'ours, unsupervised']
    careless = steps._careless_step(network, resnet, CPU, has_label)
    assert ours.networks[1][0].recognizer.folded_norms and not careless.networks[1].folded_norms
    weights = copy.deepcopy(ours.networks[0].state_dict())

    def gradient(step):
        step.networks[0].load_state_dict(weights)
        step.take(steps.random_batch('ResNet-18', 4, 32))
        assert not torch.equal(step.networks[0].tail.weight, weights['tail.weight'])  # it has learned
        return torch.cat([weight.grad.flatten() for weight in step.networks[0].parameters()])

    plain, expected, found = (gradient(step) for step in (cases['plain'], careless, ours))
    assert (expected - plain).norm() > plain.norm()
    assert (found - expected).norm() < 1e-4 * (expected - plain).norm()
