"""Trainable recognizers: steps against hand-written ones, evaluation, saving, resuming and errors."""
import copy
import signal

import pytest
import runs
import test_distributed as two
import test_exact_resume as resume
import test_option_file as files
import test_recog_aware_model as classify
import torch
import torch.nn.functional as F
from basicsr.archs import build_network
from basicsr.models import build_model
from test_recog_aware_model import (
    NETWORK_G,
    RECOG,
    RECOGNIZER,
    SmallClassifier,
    assert_equal_weights,
    batches,
    options,
    to_resume,
)
from torch import nn

from ra_plugin.builders.file_check import check_file
from ra_plugin.losses import RecogConsistencyLoss, RecogLoss
from ra_plugin.models.builder import build_model as build_run
from ra_plugin.options import OptionError
from ra_plugin.recognizers import build_recognizer
from ra_plugin.studies.doctor.run import recognizer_blocks
from ra_plugin.studies.sweep.run import with_weight

LEARNER = {**RECOGNIZER, 'trainable': True}
JOINT = {**RECOG, 'recognizer': LEARNER}
OPTIM_R = {'type': 'SGD', 'lr': 0.2, 'momentum': 0.9, 'weight_decay': 0.01}
SCHEDULER_R = {'type': 'MultiStepLR', 'milestones': [1], 'gamma': 0.5}


def joint(tmp_path, **train) -> dict:
    return options(tmp_path, recog_opt=JOINT, **{'optim_r': OPTIM_R, 'scheduler_r': SCHEDULER_R, **train})


def fixed(tmp_path) -> dict:
    """Return options that train only R, on images restored by a trained network."""
    opt = joint(tmp_path, optim_g=None)
    del opt['train']['pixel_opt']
    torch.manual_seed(5)
    torch.save({'params': build_network(dict(NETWORK_G)).state_dict()}, tmp_path / 'trained.pth')
    opt['path']['pretrain_network_g'] = str(tmp_path / 'trained.pth')
    return opt


def train(model, data, first=1) -> None:
    for i, batch in enumerate(data, first):
        model.update_learning_rate(i)
        model.feed_data(batch)
        model.optimize_parameters(i)


def as_float64(model) -> None:
    for net in (model.net_g, model.net_r, model.cri_recog):
        net.to(torch.float64)


def recognition(classifier, images, label) -> torch.Tensor:
    mean, std = (torch.tensor(RECOGNIZER[key]).to(images).view(1, 3, 1, 1) for key in ('mean', 'std'))
    return F.cross_entropy(classifier((images - mean) / std), label)


# -------------------------------------------------------------------------------------------------------- the steps
@pytest.mark.parametrize('case', ['joint', 'no pixel loss', 'fixed restorer'])
def test_its_steps_are_those_of_two_optimizers_in_a_plain_loop(tmp_path, case):
    opt = fixed(tmp_path) if case == 'fixed restorer' else joint(tmp_path)
    if case == 'no pixel loss':
        del opt['train']['pixel_opt']
    model = classify.build(opt)
    as_float64(model)
    data = batches(dtype=torch.float64)

    net, classifier = copy.deepcopy(model.net_g), SmallClassifier().double().train()
    net.train(case != 'fixed restorer')
    adam = torch.optim.Adam(net.parameters(), 1e-3)
    sgd = torch.optim.SGD(classifier.parameters(), 0.2, momentum=0.9, weight_decay=0.01)
    torch.manual_seed(9)  # of the dropout
    for i, batch in enumerate(data, 1):
        sgd.param_groups[0]['lr'] = 0.2 if i < 2 else 0.1
        adam.param_groups[0]['lr'] = 1e-3 if i < 4 else 1e-4
        output = net(batch['lq'])
        recog = recognition(classifier, output, batch['label'])
        pixel = F.mse_loss(output, batch['gt']) if case == 'joint' else 0
        grads = torch.autograd.grad(recog, list(classifier.parameters()), retain_graph=True)  # without its weight 0.1
        if case != 'fixed restorer':
            adam.zero_grad()
            (pixel + 0.1 * recog).backward()
            adam.step()
        for parameter, grad in zip(classifier.parameters(), grads, strict=True):
            parameter.grad = grad
        sgd.step()

    torch.manual_seed(9)
    train(model, data)
    for ours, theirs in ((model.net_g, net), (model.net_r, classifier)):
        theirs = theirs.state_dict()
        for key, value in ours.state_dict().items():
            torch.testing.assert_close(value, theirs[key], rtol=1e-9, atol=1e-12)
    log = model.get_current_log()
    assert log['l_recog'] == pytest.approx(0.1 * recog.item(), rel=1e-9)
    assert ('l_pix' in log) == (case == 'joint')
    assert not torch.equal(classifier.net[0].weight, SmallClassifier().net[0].weight.double())


def test_batches_that_make_one_step_count_as_their_mean(tmp_path):
    """Without batch norm and dropout two batches are one of twice the size."""
    results = []
    first, second = batches(2)
    both = {key: torch.cat([first[key], second[key]]) if isinstance(first[key], torch.Tensor) else first[key] * 2
            for key in first}
    for accum_iter, data in ((2, [first, second]), (1, [both])):
        opt = joint(tmp_path, accum_iter=accum_iter, grad_clip=0.05)
        opt['network_g'] = dict(two.NETWORK)
        opt['train']['recog_opt'] = plain_learner()
        torch.manual_seed(0)
        model = build_run(opt)
        for batch in data:
            model.feed_data(batch)
            model.optimize_parameters(1)
        results.append([p.grad for net in (model.net_g, model.net_r) for p in net.parameters()])
    for split, whole in zip(*results, strict=True):
        torch.testing.assert_close(split, whole, rtol=1e-4, atol=1e-7)
    norm = torch.stack([grad.norm() for grad in results[0][-4:]]).norm()
    assert norm == pytest.approx(0.05, rel=1e-4)  # R's own, whatever loss_weight


def plain_learner() -> dict:
    return {**RECOG, 'recognizer': {'type': 'ModuleRecognizer', 'module': f'{__name__}.PlainClassifier',
                                    'mean': [0.5] * 3, 'std': [0.1] * 3, 'trainable': True}}


class PlainClassifier(nn.Module):
    """Classifier without batch norm and dropout."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(2)
            self.conv, self.head = nn.Conv2d(3, 8, 3, 2), nn.Linear(8, 10)

    def forward(self, x):
        return self.head(torch.tanh(self.conv(x)).mean((2, 3)))


def test_a_step_with_nan_leaves_it_as_it_was(tmp_path):
    model = build_run(joint(tmp_path))
    good, bad = batches(2)
    train(model, [good])
    before = copy.deepcopy(model.net_r.state_dict())
    bad['lq'][0, 0, 0, 0] = float('nan')
    train(model, [bad], first=2)
    for key, value in model.net_r.state_dict().items():
        assert torch.equal(value, before[key]), key
    train(model, [good], first=3)
    assert not torch.equal(model.net_r.net[0].weight, before['net.0.weight'])


def test_in_bf16_it_learns_as_a_network_and_judges_in_float32(tmp_path):
    opt = joint(tmp_path, precision='bf16')
    opt['val']['recognizers'] = {'learner': LEARNER}
    model = build_run(opt)
    seen = []
    model.net_r.net[0].register_forward_hook(lambda module, args, output: seen.append(output.dtype))
    train(model, batches(1))
    model.validation(torch.utils.data.DataLoader(classify.Items(), 4), 1, None)
    assert seen == [torch.bfloat16] + 3 * [torch.float32]


def test_the_optimizer_is_sgd_with_momentum_unless_said(tmp_path):
    opt = joint(tmp_path)
    del opt['train']['optim_r'], opt['train']['scheduler_r']
    optimizer = classify.build(opt).optimizers[-1]
    assert type(optimizer) is torch.optim.SGD and optimizer.defaults['momentum'] == 0.9


def test_beside_a_transformer_each_has_its_own_schedule(tmp_path):
    opt = joint(tmp_path, scheduler_t={'type': 'MultiStepLR', 'milestones': [1], 'gamma': 0.1})
    opt['network_t'] = dict(classify.NETWORK_T)
    model = classify.build(opt)
    train(model, batches(2))
    rates = {id(net): rate for net, rate in ((model.optimizer_g, 1e-3), (model.optimizer_t, 1e-5),
                                             (model.optimizer_r, 0.1))}
    assert {id(one): pytest.approx(one.param_groups[0]['lr']) for one in model.optimizers} == rates


# --------------------------------------------------------------------------------------------- judging and saving
@pytest.mark.slow
def test_it_judges_as_it_is_by_then_and_elsewhere_from_its_file(tmp_path):
    opt = joint(tmp_path)
    opt['val']['recognizers'] = {'learner': LEARNER, 'before': RECOGNIZER}
    model = classify.build(opt)
    assert model.eval_recognizers['before'] is not model.eval_recognizers['learner']
    train(model, 6 * batches())
    buffers = copy.deepcopy(dict(model.net_r.named_buffers()))
    model.validation(torch.utils.data.DataLoader(classify.Items(), 4), 5, None)
    assert model.net_r.training and all(torch.equal(b, buffers[name]) for name, b in model.net_r.named_buffers())
    model.save(0, 24)

    file = tmp_path / 'models' / 'net_r_24.pth'
    saved = {**RECOGNIZER, 'checkpoint': str(file)}
    classifier = SmallClassifier().eval()
    classifier.load_state_dict(torch.load(file)['params'])
    images = torch.stack([item['gt'] for item in classify.Items().items])
    torch.testing.assert_close(recognition(classifier, images, torch.zeros(11, dtype=torch.long)),
                               build_recognizer(saved).loss(images, torch.zeros(11, dtype=torch.long))
                               ['cross_entropy'].mean())
    opt['val']['recognizers'] = {'learner': saved, 'before': RECOGNIZER}
    frozen = build_model({**options(tmp_path, recog_opt=RECOG), 'val': opt['val']})
    frozen.net_g.load_state_dict(model.net_g.state_dict())
    frozen.validation(torch.utils.data.DataLoader(classify.Items(), 4), 5, None)
    assert frozen.metric_results == model.metric_results
    assert frozen.metric_results['top5_learner'] > frozen.metric_results['top5_before']


@pytest.mark.slow
@pytest.mark.parametrize('start', [joint, fixed])
def test_it_is_resumed_bit_for_bit(tmp_path, start):
    opt = start(tmp_path)
    models = []
    for data in (batches(), batches()[:2]):
        torch.manual_seed(4)
        models.append(build_run(opt))
        train(models[-1], data)
    whole, first = models
    first.save(0, 2)
    again, state = to_resume(opt, tmp_path, 2)
    resumed = build_run(again)
    resumed.resume_training(state)
    train(resumed, batches()[2:], first=3)
    assert_equal_weights(resumed.net_r, whole.net_r)
    assert_equal_weights(resumed.net_g, whole.net_g)


def run_options(root) -> dict:
    opt = runs.options(root, optim_r={'type': 'SGD', 'lr': 0.01, 'momentum': 0.9})
    learner = {**opt['val']['recognizers']['vgg'], 'trainable': True}
    opt['train']['recog_opt']['recognizer'] = opt['val']['recognizers']['learner'] = learner
    del opt['network_t'], opt['train']['optim_t']
    return opt


@pytest.mark.slow
def test_a_run_that_was_killed_ends_as_one_that_was_not(tmp_path):
    whole, killed = tmp_path / 'whole', tmp_path / 'killed'
    whole.mkdir(), killed.mkdir()
    assert runs.train(whole, run_options(whole)) == 0, runs.output(whole)
    names = runs.result(whole, 8)
    for part in ('net_r_8.pth.params.', 'state.optimizers[1].state[0].momentum_buffer', 'net_r_8.pth.params.blocks.0.1'
                 '.running_mean', 'top1_learner'):
        assert any(part in name.replace('.state.0.', '.state[0].') for name in names), part
    opt = run_options(killed)
    status = runs.train(killed, opt, before=lambda: resume.interrupt_in_step(7, signal.SIGKILL))
    assert status == -signal.SIGKILL
    assert runs.train(killed, opt, '--auto_resume') == 0, runs.output(killed)
    resume.assert_ended_as(killed, whole)


# ------------------------------------------------------------------------------------------------ several processes
def train_and_validate(opt, data, rank=0, world=1):
    """Return gradients of both networks after a step on this process's share, and the scores afterwards."""
    torch.manual_seed(0)
    model = build_run({**opt, 'dist': world > 1, 'rank': rank, 'world_size': world})
    model.feed_data({key: two.share(value, rank, world) for key, value in data.items()})
    model.optimize_parameters(1)
    model.validation(torch.utils.data.DataLoader(classify.Items(), 3), 5, None)  # four batches: two each, of 3 and 2
    nets = [model.get_bare_model(net) for net in (model.net_g, model.net_r)]
    grads = [p.grad for net in nets for p in net.parameters()]
    return {'grads': grads, 'results': getattr(model, 'metric_results', None)}


@pytest.mark.distributed
def test_two_processes_learn_and_judge_as_one(tmp_path):
    opt = joint(tmp_path)
    opt['network_g'] = dict(two.NETWORK)
    opt['train']['recog_opt'] = plain_learner()
    opt['val'] = {'metrics': {}, 'recognizers': {'learner': opt['train']['recog_opt']['recognizer']}}
    interpolated = {**copy.deepcopy(opt), 'network_g': {'type': 'Interpolation', 'upscale': 2}}
    interpolated['train']['optim_g'] = None
    del interpolated['train']['pixel_opt']
    data = batches(1)[0]
    jobs = {'joint': opt, 'interpolated': interpolated}
    shared = two.together(tmp_path, {name: (train_and_validate, job, data) for name, job in jobs.items()})
    for name, job in jobs.items():
        alone = train_and_validate(copy.deepcopy(job), data)
        for rank in range(2):
            for ours, theirs in zip(shared[name][rank]['grads'], alone['grads'], strict=True):
                torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-7)
        assert shared[name][0]['results'] == alone['results']


# -------------------------------------------------------------------------------------------------- other programs
def test_the_loss_alone_gives_its_gradient_to_both():
    loss = RecogLoss(LEARNER, loss_weight=0.5)
    frozen = RecogLoss(RECOGNIZER, loss_weight=0.5)
    images, label = torch.rand(2, 3, 16, 16, requires_grad=True), torch.tensor([1, 2])
    loss.recognizer.eval()  # where dropout does not drop
    for one in (loss, frozen):
        images.grad = None
        one(images, label).backward()
        assert images.grad.abs().max() > 0
    classifier = SmallClassifier().eval()
    (0.5 * recognition(classifier, images.detach(), label)).backward()
    for ours, theirs in zip(loss.recognizer.parameters(), classifier.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)
    assert all(p.grad is None for p in frozen.recognizer.model.parameters())
    assert loss.recognizer.train().training and not frozen.recognizer.train().training


def test_the_doctor_examines_it_frozen_and_once():
    block = files.RECOGNIZER
    opt = {'train': {'recog_opt': {**RECOG, 'recognizer': {**block, 'trainable': True}}},
           'val': {'recognizers': {'learner': {**block, 'trainable': True}, 'before': block}}}
    assert recognizer_blocks(opt) == {'learner': (block, True), 'before': (block, True)}


def test_a_sweep_without_the_loss_has_no_learner():
    opt = learning()
    plain = with_weight(opt, 0)
    assert 'optim_r' not in plain['train'] and list(plain['val']['recognizers']) == ['vgg']
    check_file(plain)


# --------------------------------------------------------------------------------------------------------- refusals
def learning(**train) -> dict:
    opt = files.base()
    block = {**files.RECOGNIZER, 'trainable': True}
    opt['train'].update({'recog_opt': {'type': 'RecogLoss', 'loss_weight': 0.001, 'recognizer': block},
                         'optim_r': {'type': 'SGD', 'lr': 0.1}, **train})
    opt['val']['recognizers']['learner'] = dict(block)
    return opt


def test_a_file_with_a_learner_passes():
    check_file(learning())
    alone = learning(optim_g=None)
    alone['path']['pretrain_network_g'] = 'net_g.pth'
    del alone['train']['pixel_opt']
    check_file(alone)


def put(path, value):
    def change(opt):
        *parents, last = path.split('.')
        for key in parents:
            opt = opt[int(key) if key.isdigit() else key]
        opt[last] = value
    return change


def second_learner(opt):
    opt['train']['recog_opt'] = 2 * [opt['train']['recog_opt']]


ENSEMBLE = {'type': 'EnsembleRecognizer', 'recognizers': [files.RECOGNIZER], 'trainable': True}
ONNX = {'type': 'OnnxRecognizer', 'file': 'x.onnx', 'mean': [0.5] * 3, 'std': [0.5] * 3, 'trainable': True}
OTHER = {**files.RECOGNIZER, 'input_size': 24, 'trainable': True}


@pytest.mark.parametrize('change, message', [
    (put('train.recog_opt.type', 'RecogConsistencyLoss'),
     r'train\.recog_opt\.recognizer\.trainable: RecogConsistencyLoss compares with the answers .*Use RecogLoss'),
    (put('train.recog_opt.type', 'RecogFeatureLoss'), 'RecogFeatureLoss does not train it. Expected the same block'),
    (put('train.recog_opt.recognizer', ENSEMBLE), 'recognizer.trainable: EnsembleRecognizer cannot learn'),
    (put('train.recog_opt.recognizer', ONNX), 'recognizer.trainable: OnnxRecognizer cannot learn'),
    (put('train.recog_opt.recognizer.trainable', 'yes'), 'recognizer.trainable: expected true or false'),
    (put('train.recog_opt.recognizer.trainabel', True), "unknown key 'trainabel'"),
    (put('train.recog_opt.loss_weight', 0), 'expected a number > 0 for a trainable recognizer, got 0'),
    (second_learner, 'train.recog_opt: expected one recognizer with trainable: true, got 2'),
    (put('train.recog_opt.recognizer.trainable', False), 'train.optim_r: there is no recognizer to train'),
    (put('train.optim_r', {'type': 'SGDD', 'lr': 0.1}), "train.optim_r.type: no optimizer 'SGDD'. Did you mean 'SGD'"),
    (put('train.optim_r', {'type': 'SGD'}), "train.optim_r: 'lr' is missing"),
    (put('val.recognizers.learner', OTHER),
     'val.recognizers.learner.trainable: must equal the trainable block in train.recog_opt'),
    (put('is_train', False), 'val.recognizers.learner.trainable: .*checkpoint: experiments/NAME/models/net_r_latest'),
    (put('train.optim_g', None), 'train.pixel_opt: the recognizer alone learns where train.optim_g is ~'),
], ids=lambda value: value if isinstance(value, str) else value.__name__)
def test_what_cannot_be_meant_is_refused_in_one_line(change, message):
    opt = learning()
    change(opt)
    with pytest.raises(OptionError, match=message) as error:
        check_file(opt)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('change, message', [
    (put('train.recog_opt.recognizer', dict(files.RECOGNIZER)), 'train.optim_g: expected an optimizer, got ~'),
    (put('path.pretrain_network_g', None), 'path.pretrain_network_g: expected the weights of a trained network'),
    (put('network_t', {'type': 'ResnetGenerator'}), 'network_t: the recognizer alone learns'),
])
def test_a_restorer_that_does_not_learn_has_learned(change, message):
    opt = learning(optim_g=None)
    opt['path']['pretrain_network_g'] = 'net_g.pth'
    del opt['train']['pixel_opt'], opt['val']['recognizers']['learner']
    if 'an optimizer' in message:
        del opt['train']['optim_r']
    change(opt)
    with pytest.raises(OptionError, match=message):
        check_file(opt)


def test_from_python_the_unsupervised_loss_refuses_it_too():
    with pytest.raises(OptionError, match='RecogConsistencyLoss compares with the answers on clean images'):
        RecogConsistencyLoss(LEARNER)
    learner = build_recognizer(RECOGNIZER, fold_batch_norm=False)
    learner.unfreeze()
    with pytest.raises(OptionError, match='Use RecogLoss'):
        RecogConsistencyLoss(learner)
