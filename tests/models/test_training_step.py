"""train.precision, channels_last, compile, grad_clip and accum_iter in all classes that support the loss."""
import copy
import functools
import logging
import re

import pytest
import test_recog_aware_hosts as hosts
import test_recog_aware_model as classify
import torch
from basicsr.models.sr_model import SRModel
from torch import nn

from ra_plugin.models import training_step
from ra_plugin.models.builder import run_ready
from ra_plugin.models.recog_aware_model import recog_aware
from ra_plugin.models.training_step import StepOptions, with_float_betas
from ra_plugin.options import OptionError

every_host = pytest.mark.parametrize('name', list(hosts.HOSTS))
QUIET = {'optim_g': {'type': 'SGD', 'lr': 0.0}}  # the weights stay: what one step sees, the next one sees


def build(name, recog=hosts.RECOG, **train):
    """Build a model class with the loss and these options; weights are equal in each build."""
    opt = hosts.options(name, recog_opt=recog, **train)
    if 'optim_d' in opt['train'] and 'optim_g' in train:
        opt['train']['optim_d'] = dict(train['optim_g'])
    if name == 'SwinIRModel':
        opt['network_g']['drop_path_rate'] = 0.0
    hosts.seed_everything()
    model = run_ready(recog_aware(hosts.host_class(hosts.HOSTS[name][0])))(opt)
    model.recorded = {id(optimizer): [] for optimizer in model.optimizers}
    for optimizer in model.optimizers:
        optimizer.register_step_pre_hook(functools.partial(record, model.recorded))
    hosts.seed_everything()
    return model


def record(recorded, optimizer, *_):
    recorded[id(optimizer)].append([None if p.grad is None else p.grad.clone()
                                    for group in optimizer.param_groups for p in group['params']])


def train(model, data, iterations) -> list[list]:
    """Return the gradients of the optimizers' steps: for each optimizer one list per step."""
    for batch, iteration in zip(data, iterations, strict=True):
        model.feed_data(copy.deepcopy(batch))
        model.optimize_parameters(iteration)
    return list(model.recorded.values())


def mean(steps: list[list], count: int) -> list:
    return [None if parts[0] is None else sum(parts) / count for parts in zip(*steps, strict=True)]


def assert_close(ours: list, theirs: list, tolerance: float) -> None:
    """Assert that gradients are close, relative to the largest one of the network."""
    largest = max(g.abs().max() for g in theirs if g is not None)
    for a, b in zip(ours, theirs, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            assert (a - b).abs().max() <= tolerance * largest


# not these two: the first clips what is summed so far, the second asks which of two equal images is nearer
@pytest.mark.slow
@pytest.mark.parametrize('name', sorted(hosts.HOSTS.keys() - {'a third party step', 'RealESRGANModel, LDL, late'}))
def test_accumulated_gradients_are_the_mean_of_each_batchs(name):
    data = hosts.batches(4, name)
    plain = train(build(name, **QUIET), data, [2, 2, 4, 4])
    model = build(name, accum_iter=2, **QUIET)
    accumulated = train(model, data, [2, 2, 4, 4])
    assert any(len(steps) == 2 for steps in accumulated)
    for ours, theirs in zip(accumulated, plain, strict=True):
        assert len(ours) * 2 == len(theirs)
        for i, step in enumerate(ours):
            assert_close(step, mean(theirs[2 * i:2 * i + 2], 2), 1e-5)


def test_accumulated_steps_are_those_of_a_larger_batch():
    """Through the optimizer, with EMA and schedule: two batches of two are one of four."""
    data = hosts.batches(6, 'SRModel')
    pairs = [{key: torch.cat([a[key], b[key]]) if isinstance(a[key], torch.Tensor) else a[key] + b[key] for key in a}
             for a, b in zip(data[::2], data[1::2], strict=True)]
    small, large = build('SRModel', accum_iter=2), build('SRModel')
    for model, batches, times in ((small, data, 2), (large, pairs, 1)):
        for network in (model.net_g, model.net_g_ema, model.cri_recog):
            network.double()
        logs = []
        for i, batch in enumerate(batches):
            if i % times == 0:
                model.update_learning_rate(i // times + 1)
            model.feed_data({key: v.double() if key in ('lq', 'gt') else v for key, v in batch.items()})
            model.optimize_parameters(i // times + 1)
            logs.append(model.get_current_log())
        model.logs = logs[times - 1::times]
    for a, b in ((small.net_g, large.net_g), (small.net_g_ema, large.net_g_ema)):
        for ours, theirs in zip(a.parameters(), b.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)
    for ours, theirs in zip(small.logs, large.logs, strict=True):
        assert ours == pytest.approx(dict(theirs), rel=1e-9)
    assert small.get_current_learning_rate() == large.get_current_learning_rate()


@pytest.mark.slow
@every_host
def test_clipped_gradients_have_torchs_values(name):
    data = hosts.batches(4, name)
    limit = 1e-3
    plain = train(build(name, **QUIET), data, [1, 2, 3, 4])
    clipped = train(build(name, grad_clip=limit, **QUIET), data, [1, 2, 3, 4])
    seen = 0
    for ours, theirs in zip(clipped, plain, strict=True):
        for step, unclipped in zip(ours, theirs, strict=True):
            parameters = [nn.Parameter(torch.zeros_like(g)) for g in unclipped if g is not None]
            for parameter, gradient in zip(parameters, (g for g in unclipped if g is not None), strict=True):
                parameter.grad = gradient.clone()
            seen += bool(nn.utils.clip_grad_norm_(parameters, limit) > limit)
            found = iter(parameters)
            expected = [None if g is None else next(found).grad for g in unclipped]
            assert_close(step, expected, 1e-6)
    assert seen


@pytest.mark.slow
@every_host
def test_bf16_computes_in_bf16_and_keeps_the_rest_in_float32(name):
    model = build(name, precision='bf16')
    data, seen = hosts.batches(4, name), []
    networks = [net for name, net in vars(model).items() if name in ('net_g', 'net_d')]
    networks.append(model.cri_recog[0].recognizer.model)
    for network in networks:
        for layer in (layer for layer in network.modules() if isinstance(layer, nn.Conv2d)):
            layer.register_forward_hook(lambda _, args, output, net=network: seen.append((net, output.dtype)))
    gradients = train(model, data, [1, 2, 3, 4])
    assert set(seen) == {(network, torch.bfloat16) for network in networks}
    assert model.output.dtype == torch.float32
    for network in (model.net_g, model.cri_recog[0].recognizer.model):
        assert {p.dtype for p in network.parameters()} == {torch.float32}
    assert all(gradient.dtype == torch.float32 and gradient.isfinite().all()
               for steps in gradients for step in steps for gradient in step if gradient is not None)
    assert all(torch.isfinite(torch.tensor(value)) for value in model.get_current_log().values())
    answers = model.cri_recog[0].recognizer.outputs(torch.rand(2, 3, 16, 16))
    assert {answer.dtype for answer in answers.values()} == {torch.float32}


@pytest.mark.slow
@pytest.mark.parametrize('name', ['SRModel', 'SwinIRModel', 'ESRGANModel'])
@pytest.mark.parametrize('options, tolerance', [({'precision': 'bf16'}, 0.1), ({'channels_last': True}, 1e-4),
                                                ({'compile': True}, 1e-4)])
def test_other_arithmetic_gives_the_same_gradient_up_to_its_rounding(name, options, tolerance, monkeypatch):
    # the compiler's own back end takes a minute to build; this one traces as it does
    monkeypatch.setattr(torch, 'compile', functools.partial(torch.compile, backend='aot_eager'))
    data = hosts.batches(2, name)
    plain = train(build(name, **QUIET), data, [1, 2])[0]
    model = build(name, **options, **QUIET)
    other = train(model, data, [1, 2])[0]
    for ours, theirs in zip(other, plain, strict=True):
        assert_close(ours, theirs, tolerance)
    weights = [p for p in model.net_g.parameters() if p.dim() == 4 and p.shape[1] > 1 and p.shape[2] > 1]
    assert is_last(weights) == bool(options.get('channels_last'))


def is_last(weights):
    return all(p.is_contiguous(memory_format=torch.channels_last) for p in weights)


@pytest.mark.parametrize('options, networks, recognizers', [
    ({}, False, True), ({'channels_last': True}, True, True), ({'channels_last': False}, False, False),
    ({'precision': 'bf16'}, False, True)])
def test_by_default_the_recognizers_alone_are_channels_last(options, networks, recognizers):
    model = build('SRModel', **options)
    for net, last in ((model.net_g, networks), (model.cri_recog[0].recognizer.model, recognizers)):
        assert is_last([p for p in net.parameters() if p.dim() == 4 and min(p.shape[1:]) > 1]) == last
    assert not StepOptions().recognizers_channels_last('cuda')
    assert StepOptions(precision='bf16').recognizers_channels_last('cuda')


def test_bf16_without_instructions_for_it_is_said(monkeypatch, caplog):
    logger = logging.getLogger('basicsr')
    monkeypatch.setattr(logger, 'propagate', True)
    for has_them in (True, False):
        monkeypatch.setattr(training_step, 'computes_bfloat16', lambda device, has_them=has_them: has_them)
        build('SRModel', precision='bf16')
        assert ('this cpu has no bfloat16 instructions' in caplog.text) != has_them


@pytest.mark.slow
def test_the_compiled_network_is_for_training_alone(monkeypatch):
    traced = []

    def backend(graph, inputs):
        traced.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, 'compile', functools.partial(torch.compile, backend=backend))
    model = build('SRGANModel', compile=True)
    train(model, hosts.batches(2, 'SRGANModel'), [1, 2])
    count = len(traced)
    assert count >= 3  # net_g, net_d and the recognizer
    model.is_train = False
    for size in (8, 10, 12):
        model.feed_data({'lq': torch.rand(1, 3, size, size)})
        model.test()
    assert len(traced) == count
    keys = model.net_g.state_dict().keys()
    assert not any('_orig_mod' in key for key in keys)


@pytest.mark.parametrize('train_opt, message', [
    ({'precision': 'fp16'}, "train.precision: expected 'fp32' | 'bf16', got 'fp16'"),
    ({'grad_clip': 0}, 'train.grad_clip: expected a number > 0'),
    ({'grad_clip': True}, 'train.grad_clip: expected'),
    ({'accum_iter': 0}, 'train.accum_iter: expected a whole number >= 1'),
    ({'max_bad_steps': 0}, 'train.max_bad_steps: expected a whole number >= 1'),
    ({'compile': 'yes'}, 'train.compile: expected true or false'),
])
def test_wrong_options(train_opt, message):
    with pytest.raises(OptionError, match=re.escape(message)):
        StepOptions.read(train_opt)


@pytest.mark.slow
@pytest.mark.parametrize('loss', ['RecogLoss', 'RecogConsistencyLoss'])
def test_the_recognizer_of_a_loss_is_compiled_with_the_network(loss, monkeypatch):
    traced = []

    def backend(graph, inputs):
        traced.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, 'compile', functools.partial(torch.compile, backend=backend))
    data = hosts.batches(1, 'SRModel')
    gradients = {}
    for compiled in (False, True):
        model = build('SRModel', compile=compiled, **QUIET, recog={**hosts.RECOG, 'type': loss})
        gradients[compiled] = train(model, data, [1])[0]
        assert bool(traced) == compiled
    recognizer = model.cri_recog[0].recognizer.model
    found = {id(value) for graph in traced for value in (*graph.parameters(), *graph.buffers())}
    names = ' '.join(str(node.target) for graph in traced for node in graph.graph.nodes)
    assert id(next(recognizer.parameters())) in found or 'tanh' in names.lower()
    assert_close(gradients[True][0], gradients[False][0], 1e-4)
    torch.compiler.reset()


@pytest.mark.slow
@pytest.mark.parametrize('bad', [(), (2,), (2, 3)])
def test_a_device_that_skips_bad_steps_by_itself_learns_the_same(bad, monkeypatch):
    """The fused kernel decides; weights, statistics, averages and counts are those of a run without the bad batches."""
    data, found, said = hosts.batches(5, 'ESRGANModel'), [], []
    monkeypatch.setattr(logging.getLogger('basicsr'), 'warning', said.append)
    for fused in (False, True):
        optimizers = {f'optim_{net}': {'type': 'Adam', 'lr': 1e-3, 'fused': fused} for net in 'gd'}
        model = build('ESRGANModel', **optimizers)
        said.clear()
        for i, batch in enumerate(data, 1):
            batch = copy.deepcopy(batch)
            if i in bad:
                batch['lq'][0, 0, 0, 0] = float('nan')
            model.update_learning_rate(i)
            model.feed_data(batch)
            model.optimize_parameters(i)
        model._read_steps(len(model._unread))
        assert [line.split(' (')[0] for line in said] == [f'iteration {i}: the gradient is not finite' for i in bad]
        found.append({f'{name}.{key}': value for name in ('net_g', 'net_d', 'net_g_ema')
                      for key, value in getattr(model, name).state_dict().items()})
        found[-1]['steps'] = next(iter(model.optimizer_g.state.values()))['step']
    plain, fused = found
    for key, value in plain.items():
        torch.testing.assert_close(fused[key], value, rtol=1e-4, atol=1e-6, msg=f'{key}: {{}}'.format)
    assert plain['steps'] == len(data) - len(bad)


def test_too_many_steps_that_the_device_skipped_end_the_run_one_step_later():
    model = build('SRModel', optim_g={'type': 'Adam', 'lr': 1e-3, 'fused': True}, max_bad_steps=2)
    batch = hosts.batches(1, 'SRModel')[0]
    batch['lq'][0, 0, 0, 0] = float('nan')
    before = copy.deepcopy(model.net_g.state_dict())
    with pytest.raises(training_step.NotFinite, match='iteration 2: the gradient is not finite .* number 2 in a row'):
        for i in range(1, 9):
            model.feed_data(copy.deepcopy(batch))
            model.optimize_parameters(i)
    assert i == 3
    assert all(torch.equal(value, before[key]) for key, value in model.net_g.state_dict().items())


@pytest.mark.parametrize('arguments', [
    {'momentum': 0.9}, {'momentum': 0.9, 'nesterov': True}, {'momentum': 0.9, 'dampening': 0.5}, {}])
def test_momentum_begins_with_the_first_good_step(arguments, monkeypatch):
    """SGD's fused kernel takes whatever is in new memory for momentum, where it skipped its first step."""
    garbage = torch.full_like
    monkeypatch.setattr(torch, 'empty_like', lambda tensor, **settings: garbage(tensor, 1e3, **settings))
    data, found = hosts.batches(3, 'SRModel'), []
    data[0]['lq'][0, 0, 0, 0] = float('nan')
    for first, fused in ((0, True), (1, False)):  # the second never meets the bad batch
        model = build('SRModel', optim_g={'type': 'SGD', 'lr': 0.1, 'fused': fused, **arguments})
        for i, batch in enumerate(copy.deepcopy(data), 1):
            model.update_learning_rate(i)
            if i > first:
                model.feed_data(batch)
                model.optimize_parameters(i)
        found.append(model.net_g.state_dict())
    for key, value in found[1].items():
        torch.testing.assert_close(found[0][key], value, rtol=1e-4, atol=1e-6, msg=f'{key}: {{}}'.format)


class ClosureModel(SRModel):
    """Model with a user's own step, which passes a closure to the optimizer."""

    def optimize_parameters(self, current_iter):
        def closure():
            self.optimizer_g.zero_grad()
            self.output = self.net_g(self.lq)
            self.loss = self.cri_pix(self.output, self.gt)
            self.loss.backward()
            return self.loss

        assert self.optimizer_g.step(closure) is self.loss or isinstance(self.optimizer_g, torch.optim.LBFGS)
        self.log_dict = self.reduce_loss_dict({'l_pix': self.loss})


@pytest.mark.slow
@pytest.mark.parametrize('optimizer', [torch.optim.Adam, torch.optim.LBFGS])
def test_a_step_with_a_closure_is_the_one_of_basicsr(tmp_path, monkeypatch, optimizer):
    monkeypatch.setattr(SRModel, 'get_optimizer', lambda self, kind, params, lr, **_: optimizer(params, lr=lr))
    trained = []
    for kind in (ClosureModel, run_ready(ClosureModel)):
        torch.manual_seed(0)
        model = kind(classify.options(tmp_path, None))
        for i, batch in enumerate(classify.batches(2), 1):
            model.feed_data(batch)
            model.optimize_parameters(i)
        trained.append(model.get_bare_model(model.net_g))
    classify.assert_equal_weights(*trained)


def test_whole_numbers_among_betas_are_taken(tmp_path):
    opt = classify.options(tmp_path, None, optim_g={'type': 'Adam', 'lr': 1e-3, 'betas': [0, 0.99]})
    model = run_ready(SRModel)(opt)
    assert model.optimizer_g.param_groups[0]['betas'] == (0.0, 0.99)
    assert with_float_betas({'betas': 'text', 'lr': 1}) == {'betas': 'text', 'lr': 1}
