"""A feature loss with the recognizer that another loss trains, as in SR4IR: one network, and no gradient for it."""
import copy

import pytest
import test_distributed as two
import test_option_file as files
import test_recog_aware_model as classify
import test_trainable_recognizer as learner
import torch
import torch.nn.functional as F
from basicsr.archs import build_network
from test_recog_aware_model import NETWORK_G, RECOGNIZER, SmallClassifier, assert_equal_weights, batches, to_resume

from ra_plugin import RecogFeatureLoss, RecogLoss, build_recognizer
from ra_plugin.builders.file_check import check_file
from ra_plugin.evaluation.used_recognizers import trained_with
from ra_plugin.models.builder import build_model as build_run
from ra_plugin.options import OptionError

FEATURES = {'type': 'RecogFeatureLoss', 'loss_weight': 2.0, 'distance': 'l1', 'layer_weights': {'net.1': 0.5},
            'recognizer': learner.LEARNER}
BLOCKS = [learner.JOINT, FEATURES]


def shared(tmp_path, blocks=BLOCKS, **train) -> dict:
    opt = learner.joint(tmp_path, **train)
    opt['train']['recog_opt'] = copy.deepcopy(blocks)
    return opt


@pytest.mark.parametrize('blocks', [BLOCKS, BLOCKS[::-1]], ids=['loss first', 'features first'])
def test_its_steps_are_those_of_a_plain_loop(tmp_path, blocks):
    model = classify.build(shared(tmp_path, blocks))
    first, second = model.cri_recog
    assert first.recognizer is second.recognizer
    learner.as_float64(model)
    data = batches(dtype=torch.float64)

    net, classifier = build_network(dict(NETWORK_G)).double().train(), SmallClassifier().double()
    net.load_state_dict(model.net_g.state_dict())
    adam = torch.optim.Adam(net.parameters(), 1e-3)
    sgd = torch.optim.SGD(classifier.parameters(), 0.2, momentum=0.9, weight_decay=0.01)
    mean, std = (torch.tensor(RECOGNIZER[key]).double().view(1, 3, 1, 1) for key in ('mean', 'std'))
    torch.manual_seed(9)  # of the dropout
    for i, batch in enumerate(data, 1):
        sgd.param_groups[0]['lr'] = 0.2 if i < 2 else 0.1
        adam.param_groups[0]['lr'] = 1e-3 if i < 4 else 1e-4
        output = net(batch['lq'])

        def features(output=output, batch=batch):
            frozen = copy.deepcopy(classifier).eval().requires_grad_(False)
            found = [frozen.net[:2]((images - mean) / std) for images in (output, batch['gt'])]
            return 2.0 * 0.5 * F.l1_loss(*found)

        early = features() if blocks is not BLOCKS else None  # before batch norm has seen the batch
        recog = learner.recognition(classifier.train(), output, batch['label'])
        feature = features() if early is None else early
        grads = torch.autograd.grad(recog, list(classifier.parameters()), retain_graph=True)  # of its own loss alone
        adam.zero_grad()
        (F.mse_loss(output, batch['gt']) + 0.1 * recog + feature).backward()
        adam.step()
        for parameter, grad in zip(classifier.parameters(), grads, strict=True):
            parameter.grad = grad
        sgd.step()

    torch.manual_seed(9)
    learner.train(model, data)
    for ours, theirs in ((model.net_g, net), (model.net_r, classifier)):
        theirs = theirs.state_dict()
        for key, value in ours.state_dict().items():
            torch.testing.assert_close(value, theirs[key], rtol=1e-7, atol=1e-10)  # Adam enlarges rounding
    log = model.get_current_log()
    values = [log['l_recog_0'], log['l_recog_1']][::1 if blocks is BLOCKS else -1]
    assert values == pytest.approx([0.1 * recog.item(), feature.item()], rel=1e-9)


def test_from_python_the_gradient_goes_to_the_images_alone():
    loss = RecogLoss(learner.LEARNER)
    feature = RecogFeatureLoss(loss.recognizer, layer_weights=['net.0'])
    images = torch.rand(2, 3, 16, 16, requires_grad=True)
    before = copy.deepcopy(loss.recognizer.model.state_dict())
    modes = [module.training for module in loss.recognizer.model.modules()]
    value = feature(images, images.detach().flip(3))
    loss(images, torch.tensor([1, 2]))  # batch norm follows this batch
    value.backward()
    network = loss.recognizer.model
    assert images.grad.any() and all(p.grad is None and p.requires_grad for p in network.parameters())
    assert modes == [module.training for module in network.modules()] and any(modes)
    assert torch.equal(before['net.0.weight'], network.state_dict()['net.0.weight'])
    frozen = RecogFeatureLoss(build_recognizer(RECOGNIZER, fold_batch_norm=False), layer_weights=['net.0'])
    torch.testing.assert_close(value, frozen(images, images.detach().flip(3)))


def test_what_it_compares_with_moves_as_the_recognizer_learns():
    loss = RecogLoss(learner.LEARNER)
    feature = RecogFeatureLoss(loss.recognizer)
    images, clean = torch.rand(2, 2, 3, 16, 16)
    before = feature(images, clean)
    with torch.no_grad():
        loss.recognizer.model.net[0].weight.mul_(2)
    assert not torch.isclose(feature(images, clean), before)
    with pytest.raises(ValueError, match='cache_reference: the answers of .* change as it learns. Remove it'):
        RecogFeatureLoss(loss.recognizer, cache_reference=True)
    with pytest.raises(OptionError, match='gradient_checkpointing is for frozen recognizers'):
        RecogFeatureLoss(loss.recognizer, gradient_checkpointing=True)


def test_alone_it_does_not_train_a_recognizer():
    with pytest.raises(OptionError, match='RecogFeatureLoss does not train it. Give it the recognizer of the loss'):
        RecogFeatureLoss(learner.LEARNER)


@pytest.mark.slow
def test_it_is_resumed_bit_for_bit(tmp_path):
    opt = shared(tmp_path)
    models = []
    for data in (batches(), batches()[:2]):
        torch.manual_seed(4)
        models.append(build_run(copy.deepcopy(opt)))
        learner.train(models[-1], data)
    whole, first = models
    first.save(0, 2)
    again, state = to_resume(opt, tmp_path, 2)
    resumed = build_run(again)
    resumed.resume_training(state)
    learner.train(resumed, batches()[2:], first=3)
    assert_equal_weights(resumed.net_r, whole.net_r)
    assert_equal_weights(resumed.net_g, whole.net_g)


@pytest.mark.distributed
def test_two_processes_are_as_one(tmp_path):
    opt = shared(tmp_path)
    opt['network_g'] = dict(two.NETWORK)
    block = learner.plain_learner()
    opt['train']['recog_opt'] = [block, {**FEATURES, 'recognizer': block['recognizer'], 'layer_weights': ['conv']}]
    opt['val'] = {'metrics': {}, 'recognizers': {'learner': block['recognizer']}}
    data = batches(1)[0]
    together = two.together(tmp_path, {'shared': (learner.train_and_validate, opt, data)})
    alone = learner.train_and_validate(copy.deepcopy(opt), data)
    for rank in range(2):
        for ours, theirs in zip(together['shared'][rank]['grads'], alone['grads'], strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-7)


# ----------------------------------------------------------------------------------------------------- option files
def file_options(**changes) -> dict:
    opt = learner.learning()
    block = opt['train']['recog_opt']
    opt['train']['recog_opt'] = [block, {'type': 'RecogFeatureLoss', 'recognizer': block['recognizer'], **changes}]
    return opt


def test_a_file_with_both_losses_passes_and_counts_one_recognizer(tmp_path):
    opt = file_options(distance='l1')
    check_file(opt)
    used = trained_with(opt, tmp_path, tmp_path)
    assert {block.get('checkpoint') for block in used} == {
        files.RECOGNIZER.get('checkpoint'), str(tmp_path / 'models' / 'net_r_latest.pth')}


@pytest.mark.parametrize('change, message', [
    (lambda opt: opt['train']['recog_opt'].pop(0),
     r'train\.recog_opt\[0\]\.recognizer\.trainable: RecogFeatureLoss does not .* RecogLoss, got none'),
    (lambda opt: opt['train']['recog_opt'][1].update(recognizer={**files.RECOGNIZER, 'input_size': 24,
                                                                 'trainable': True}),
     r'train\.recog_opt\[1\]\.recognizer\.trainable: .*Expected the same block in a RecogLoss, got another'),
    (lambda opt: opt['train']['recog_opt'][1].update(type='RecogConsistencyLoss'),
     r'RecogConsistencyLoss compares with the answers on clean images'),
    (lambda opt: opt['train'].update(optim_g=None, pixel_opt=None),
     r'train\.recog_opt\[1\]: the recognizer alone learns where train\.optim_g is ~'),
], ids=['alone', 'another', 'consistency', 'fixed restorer'])
def test_what_cannot_be_meant_is_refused_in_one_line(change, message):
    opt = file_options()
    change(opt)
    with pytest.raises(OptionError, match=message) as error:
        check_file(opt)
    assert '\n' not in str(error.value)
