"""The anchor: its gradient by finite differences, in every model class, and that its network stays as it was."""
import copy

import pytest
import test_recog_aware_hosts as hosts
import test_recog_aware_model as classify
import test_training_step as step
import torch
import torch.nn.functional as F
from basicsr.models.sr_model import SRModel
from torch import nn

from ra_plugin.models.builder import run_ready
from ra_plugin.models.recog_aware_model import recog_aware
from ra_plugin.recognizers import build_recognizer

WEIGHT = 30.0
ANCHOR = {'type': 'MSELoss', 'loss_weight': WEIGHT, 'to': 'start'}
PLAIN = {'type': 'MSRResNet', 'num_feat': 4, 'num_block': 1, 'upscale': 2}  # no batch norm


def build(tmp_path, to='start', **train):
    opt = classify.options(tmp_path, recog_opt=classify.UNSUPERVISED, anchor_opt={**ANCHOR, 'to': to}, **train)
    opt['network_g'] = dict(PLAIN)
    if to != 'start':
        opt['network_t'] = dict(classify.NETWORK_T)
    torch.manual_seed(0)
    return run_ready(recog_aware(SRModel))(opt)


@torch.no_grad()
def move(network: nn.Module, size: float = 0.05) -> None:
    """Move a network away from where it is."""
    generator = torch.Generator().manual_seed(3)
    for parameter in network.parameters():
        parameter += size * torch.randn(parameter.shape, generator=generator, dtype=torch.float32)


def to_double(model) -> None:
    for part in (model.net_g, model.net_t, model.cri_recog, model.start_network):
        if part is not None:
            part.double()


@pytest.mark.parametrize(('to', 'with_pixel', 'every'), [
    ('start', True, 1), ('start', False, 1), ('start', True, 2), ('output', True, 1), ('gt', True, 1),
    ('output', True, 2)])
def test_the_gradient_is_that_of_the_sum_by_finite_differences(tmp_path, to, with_pixel, every):
    model = build(tmp_path, to, recog_every=every, optim_g={'type': 'SGD', 'lr': 1e-12},
                  optim_t={'type': 'SGD', 'lr': 1e-12}, **({} if with_pixel else {'pixel_opt': None}))
    to_double(model)
    start = copy.deepcopy(model.net_g)
    move(model.net_g)
    batch = classify.batches(1, torch.float64)[0]
    net_g, net_t = copy.deepcopy(model.net_g), copy.deepcopy(model.net_t)
    recognizer = build_recognizer(classify.RECOGNIZER).double()
    clean = recognizer.outputs(batch['gt'])['logits'].softmax(1)

    def total() -> float:
        output = net_g(batch['lq'])
        images = output if net_t is None else net_t(output.detach())
        near = {'start': start(batch['lq']).detach(), 'output': output.detach(), 'gt': batch['gt']}[to]
        recog = 0.3 * (recognizer.outputs(images)['logits'].softmax(1) - clean).square().mean()
        pixel = F.mse_loss(output, batch['gt']) if with_pixel and net_t is None else 0
        return float(pixel + every * (recog + WEIGHT * F.mse_loss(images, near)))

    model.feed_data(batch)
    model.optimize_parameters(every)
    learning = net_g if net_t is None else net_t
    ours = [p.grad for p in (model.net_g if net_t is None else model.net_t).parameters()]
    generator, size = torch.Generator().manual_seed(5), 1e-6
    for _ in range(3):
        direction = [torch.randn(p.shape, generator=generator).double() for p in learning.parameters()]
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                for parameter, way in zip(learning.parameters(), direction, strict=True):
                    parameter += sign * size * way
                values.append(total())
                for parameter, way in zip(learning.parameters(), direction, strict=True):
                    parameter -= sign * size * way
        expected = sum((a * b).sum() for a, b in zip(ours, direction, strict=True)).item()
        assert (values[0] - values[1]) / (2 * size) == pytest.approx(expected, rel=1e-5, abs=1e-8)


def test_the_log_has_the_anchor_apart_and_the_ratio_counts_it_among_the_image_losses(tmp_path):
    model = build(tmp_path, log_grad_ratio=True)
    start = copy.deepcopy(model.net_g)
    move(model.net_g)
    before, batch = copy.deepcopy(model.net_g), classify.batches(1)[0]
    model.feed_data(batch)
    model.optimize_parameters(1)
    log = model.get_current_log()
    output = before(batch['lq']).detach().requires_grad_()
    pixel = F.mse_loss(output, batch['gt'])
    anchor = WEIGHT * F.mse_loss(output, start(batch['lq']).detach())
    recognizer = build_recognizer(classify.RECOGNIZER)
    recog = 0.3 * (recognizer.outputs(output)['logits'].softmax(1)
                   - recognizer.outputs(batch['gt'])['logits'].softmax(1)).square().mean()
    norms = [torch.autograd.grad(loss, output)[0].norm() for loss in (recog, pixel + anchor)]
    assert set(log) == {'l_pix', 'l_recog', 'l_anchor', 'recog_grad_ratio'}
    for name, value in (('l_pix', pixel), ('l_recog', recog), ('l_anchor', anchor)):
        assert log[name] == pytest.approx(value.item(), rel=1e-5), name
    assert log['recog_grad_ratio'] == pytest.approx((norms[0] / norms[1]).item(), rel=1e-4)


def test_the_network_of_the_start_stays_as_it_was_and_draws_no_random_numbers(tmp_path):
    plain, model = (classify.build(classify.options(tmp_path, recog_opt=classify.RECOG, ema_decay=0.5, **anchor))
                    for anchor in ({}, {'anchor_opt': {**ANCHOR, 'loss_weight': 0.0}}))
    classify.assert_equal_weights(model.start_network.network, model.net_g_ema)
    start = copy.deepcopy(model.start_network.network)
    drawn = []
    for each in (plain, model):
        torch.manual_seed(1)
        classify.train(each, classify.batches())
        drawn.append(torch.rand(3))
    assert torch.equal(*drawn)
    classify.assert_equal_weights(model.start_network.network, start)  # the statistics of its batch norm, too
    classify.assert_equal_weights(model.net_g, plain.net_g)
    assert not any(p.requires_grad for p in model.start_network.parameters())


def test_the_start_is_the_average_of_a_checkpoint_where_there_is_one(tmp_path):
    """As the budget counts from: with ``ema_decay`` the network that is validated."""
    opt = classify.options(tmp_path, recog_opt=classify.RECOG, ema_decay=0.5, anchor_opt=ANCHOR)
    nets = [classify.build_network(dict(classify.NETWORK_G)) for _ in range(2)]
    torch.save({key: net.state_dict() for key, net in zip(('params', 'params_ema'), nets, strict=True)},
               tmp_path / 'given.pth')
    opt['path']['pretrain_network_g'] = str(tmp_path / 'given.pth')
    model = classify.build(copy.deepcopy(opt))
    classify.assert_equal_weights(model.start_network.network, nets[1])
    del opt['train']['ema_decay']
    classify.assert_equal_weights(classify.build(opt).start_network.network, nets[0])


@pytest.mark.slow
@pytest.mark.parametrize('name', hosts.HOSTS)
def test_every_class_takes_its_own_step_with_the_anchor(name):
    """The images stay nearer to those of the start than without it, and the log has the loss of each step."""
    distance = {}
    for weight in (1e3, 0.0):
        model = step.build(name, anchor_opt={**ANCHOR, 'loss_weight': weight})
        move(model.net_g, 0.02)
        for i, batch in enumerate(hosts.batches(4, name), 1):
            model.feed_data(copy.deepcopy(batch))
            model.optimize_parameters(i)
            expected = weight * F.mse_loss(model.output, model.start_network(model.lq)).item()
            log = model.get_current_log()
            assert ('l_anchor' in log) == ('l_recog' in log)
            if 'l_anchor' in log:
                assert log['l_anchor'] == pytest.approx(expected, rel=1e-4)
        distance[weight] = F.mse_loss(model.net_g.eval()(model.lq), model.start_network(model.lq)).item()
    assert distance[1e3] < distance[0.0]


def test_accumulated_steps_are_those_of_a_larger_batch():
    data = hosts.batches(2, 'SRModel')
    joint = {key: torch.cat([a, b]) if isinstance(a, torch.Tensor) else a + b
             for (key, a), b in zip(data[0].items(), data[1].values(), strict=True)}
    found = []
    for times, batches in ((2, data), (1, [joint])):
        model = step.build('SRModel', accum_iter=times, anchor_opt=ANCHOR, **step.QUIET)
        move(model.net_g)
        step.train(model, batches, [1] * times)
        found.append((next(iter(model.recorded.values()))[-1], model.get_current_log()['l_anchor']))
    step.assert_close(found[0][0], found[1][0], 1e-4)
    assert found[0][1] == pytest.approx(found[1][1], rel=1e-5)


def test_bf16_is_the_precision_of_the_start_too():
    model = step.build('SRModel', precision='bf16', anchor_opt=ANCHOR)
    seen = []
    layer = next(layer for layer in model.start_network.modules() if isinstance(layer, nn.Conv2d))
    layer.register_forward_hook(lambda module, args, output: seen.append(output.dtype))
    step.train(model, hosts.batches(1, 'SRModel'), [1])
    assert seen == [torch.bfloat16] and model.start_network(model.lq).dtype == torch.float32
    assert {p.dtype for p in model.start_network.parameters()} == {torch.float32}
