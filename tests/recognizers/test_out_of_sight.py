"""Frozen means frozen: nothing that walks over a system reaches the recognizer in it; what moves the system does."""
import copy
import io
import logging
import pickle

import pytest
import torch
from torch import distributed, nn
from torch.optim.swa_utils import AveragedModel

from ra_plugin import RecogConsistencyLoss, RecogFeatureLoss, RecogLoss, build_recognizer
from ra_plugin.recognizers import EnsembleRecognizer, ModuleRecognizer
from ra_plugin.recognizers.frozen.out_of_sight import OutOfSight, networks_within

LABEL = torch.tensor([1, 3])


class NormNet(nn.Module):
    """Batch norm and dropout, so that training mode would show."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6)
        self.drop, self.head = nn.Dropout(0.5), nn.Linear(6, 4)

    def forward(self, x):
        return self.head(self.drop(self.norm(self.conv(x)).relu().mean((2, 3))))


def a_recognizer():
    torch.manual_seed(3)
    return ModuleRecognizer(NormNet(), mean=[0.5] * 3, std=[0.2] * 3)


class System(nn.Module):
    """A restorer with what judges it: in a loss, or as it is."""

    def __init__(self, recognizer, make_loss=RecogLoss):
        super().__init__()
        self.restorer = nn.Conv2d(3, 3, 3, padding=1)
        self.judge = make_loss(recognizer) if make_loss else recognizer

    @property
    def recognizer(self):
        return self.judge if isinstance(self.judge, OutOfSight) else self.judge.recognizer

    def forward(self, images, label):
        output = self.restorer(images)
        if self.judge is self.recognizer:
            return sum(term.mean() for term in self.judge.loss(output, label).values())
        return self.judge(output, label if self.judge.needs == 'label' else images.clamp(0, 1))


SYSTEMS = {
    'RecogLoss': lambda: System(a_recognizer()),
    'RecogConsistencyLoss': lambda: System(a_recognizer(), RecogConsistencyLoss),
    'RecogFeatureLoss': lambda: System(a_recognizer(), RecogFeatureLoss),
    'an ensemble': lambda: System(EnsembleRecognizer([a_recognizer(), a_recognizer()])),
    'alone': lambda: System(a_recognizer(), None),
    'an ensemble alone': lambda: System(EnsembleRecognizer([a_recognizer(), a_recognizer()]), None),
}


@pytest.fixture(params=SYSTEMS)
def system(request):
    return SYSTEMS[request.param]()


@pytest.fixture
def images():
    return torch.rand(2, 3, 12, 12)


def weights(system):
    """Copies of all that the recognizer computes with."""
    return [tensor.detach().clone() for network in system.recognizer.networks()
            for tensor in (*network.parameters(), *network.buffers())]


def unfrozen(system):
    """As Lightning's unfreeze() does it."""
    for parameter in system.parameters():
        parameter.requires_grad = True
    system.train()


def initialized(module):
    if hasattr(module, 'weight'):
        nn.init.normal_(module.weight)
    for parameter in module.parameters():
        parameter.requires_grad_(True)


def each_child_unfrozen(system):
    for child in system.children():
        for parameter in child.parameters():
            parameter.requires_grad_(True)


WALKS = {
    'requires_grad_': lambda system: system.requires_grad_(True),
    'requires_grad_ of the recognizer': lambda system: system.recognizer.requires_grad_(True),
    'apply': lambda system: system.apply(initialized),
    'apply on the recognizer': lambda system: system.recognizer.apply(initialized),
    "Lightning's unfreeze": unfrozen,
    'children': each_child_unfrozen,
    'modules': lambda system: [initialized(module) for module in system.modules()],
    'train': lambda system: [module.train() for module in system.modules()],
}


@pytest.mark.parametrize('walk', WALKS)
def test_what_walks_over_a_system_does_not_thaw_it(walk, system, images):
    restorer = copy.deepcopy(system.restorer.state_dict())
    before, loss = weights(system), system(images, LABEL)
    WALKS[walk](system)
    system.restorer.load_state_dict(restorer)
    torch.testing.assert_close(system(images, LABEL), loss, rtol=0, atol=0)
    system(images, LABEL).backward()
    torch.testing.assert_close(weights(system), before, rtol=0, atol=0)
    parameters = [p for network in system.recognizer.networks() for p in network.parameters()]
    assert parameters and not any(p.requires_grad or p.grad is not None for p in parameters)
    assert system.restorer.weight.grad.abs().max() > 0


def test_a_system_has_the_restorers_tensors_alone(system):
    assert [name for name, _ in system.named_parameters()] == ['restorer.weight', 'restorer.bias']
    assert not list(system.buffers())
    assert list(system.state_dict()) == ['restorer.weight', 'restorer.bias']
    assert not any(isinstance(module, NormNet) for module in system.modules())


def test_an_optimizer_with_weight_decay_over_all_parameters_leaves_it_alone(system, images):
    before = weights(system)
    optimizer = torch.optim.AdamW(system.parameters(), lr=0.1, weight_decay=0.5)
    for _ in range(2):
        optimizer.zero_grad()
        system(images, LABEL).backward()
        optimizer.step()
    assert len(optimizer.state) == 2
    torch.testing.assert_close(weights(system), before, rtol=0, atol=0)


def test_a_checkpoint_of_a_system_has_no_recognizer_and_loads_strictly(system, images):
    file = io.BytesIO()
    torch.save(system.state_dict(), file)
    assert file.tell() < 5000  # the restorer has 84 numbers
    loss = system(images, LABEL)
    nn.init.zeros_(system.restorer.weight)
    file.seek(0)
    assert not any(system.load_state_dict(torch.load(file), strict=True))
    torch.testing.assert_close(system(images, LABEL), loss, rtol=0, atol=0)


def test_a_checkpoint_of_older_versions_loads_strictly(system, recwarn):
    old = {**system.state_dict(),
           **{('judge.' if system.judge is system.recognizer else 'judge.recognizer.') + key: value
              for key, value in system.recognizer.state_dict().items()}}
    assert len(old) > 8
    system.load_state_dict(old, strict=True)
    assert not recwarn


def test_other_weights_in_a_checkpoint_are_passed_over_with_a_warning(images, monkeypatch):
    monkeypatch.setattr(logging.getLogger('basicsr'), 'handlers', [])  # no run has a log
    system = SYSTEMS['RecogLoss']()
    old = {**system.state_dict(), **{f'judge.recognizer.{key}': value + 1
                                     for key, value in system.recognizer.state_dict().items()}}
    before = weights(system)
    with pytest.warns(UserWarning, match=r'^ModuleRecognizer\(NormNet\): the checkpoint has other weights under '
                                         r'judge\.recognizer\.model than this frozen recognizer'):
        system.load_state_dict(old, strict=True)
    torch.testing.assert_close(weights(system), before, rtol=0, atol=0)


def test_other_keys_that_do_not_fit_are_still_refused():
    system = SYSTEMS['RecogLoss']()
    with pytest.raises(RuntimeError, match='judge.recognizer.modle.head'):
        system.load_state_dict({**system.state_dict(), 'judge.recognizer.modle.head': torch.zeros(1)})


def test_the_recognizer_gives_and_takes_its_weights_where_it_is_asked_itself(system, images):
    state = copy.deepcopy(system.recognizer.state_dict())
    assert sum(key.endswith('conv.weight') for key in state) == len(list(system.recognizer.networks()))
    loss = system(images, LABEL)
    for network in system.recognizer.networks():
        nn.init.normal_(network.conv.weight)
    assert system(images, LABEL) != loss
    assert not any(system.recognizer.load_state_dict(state))
    torch.testing.assert_close(system(images, LABEL), loss, rtol=0, atol=0)
    missing, unexpected = system.recognizer.load_state_dict({'other': torch.zeros(1)}, strict=False)
    assert set(missing) == {key for key in state if 'tracked' not in key} and unexpected == ['other']


@pytest.mark.parametrize('make', [copy.deepcopy, lambda system: pickle.loads(pickle.dumps(system))],
                         ids=['deepcopy', 'pickle'])
def test_a_copy_has_a_recognizer_of_its_own(make, system, images):
    other = make(system)
    loss = system(images, LABEL)
    torch.testing.assert_close(other(images, LABEL), loss, rtol=0, atol=0)
    for network in other.recognizer.networks():
        nn.init.zeros_(network.head.weight)
    torch.testing.assert_close(system(images, LABEL), loss, rtol=0, atol=0)
    assert [name for name, _ in other.named_parameters()] == ['restorer.weight', 'restorer.bias']


def test_a_whole_system_is_saved_and_loaded(system, images, tmp_path):
    torch.save(system, tmp_path / 'system.pt')
    other = torch.load(tmp_path / 'system.pt', weights_only=False)
    torch.testing.assert_close(other(images, LABEL), system(images, LABEL), rtol=0, atol=0)


@pytest.mark.parametrize('dtype', [torch.float64, torch.bfloat16])
def test_to_casts_it_with_the_system(dtype, system, images):
    loss = system(images, LABEL).item()
    system.to(dtype)
    tensors = [t for network in networks_within(system) for t in (*network.parameters(), *network.buffers())]
    assert {tensor.dtype for tensor in tensors if tensor.is_floating_point()} == {dtype}
    assert {part.mean.dtype for part in system.modules() if isinstance(part, OutOfSight)} == {dtype}
    assert system(images.to(dtype), LABEL).item() == pytest.approx(loss, rel=0.2 if dtype == torch.bfloat16 else 1e-5,
                                                                   abs=0.05 if dtype == torch.bfloat16 else 1e-7)


def test_to_moves_it_with_the_system(system):
    system.to('meta')
    tensors = [t for network in networks_within(system) for t in (*network.parameters(), *network.buffers())]
    assert {tensor.device.type for tensor in tensors} == {'meta'}
    assert {part.std.device.type for part in system.modules() if isinstance(part, OutOfSight)} == {'meta'}


def test_the_memory_of_processes_and_its_layout_reach_it(system):
    system.share_memory().to(memory_format=torch.channels_last)
    for network in system.recognizer.networks():
        assert network.head.weight.is_shared()
        assert network.conv.weight.is_contiguous(memory_format=torch.channels_last)


def test_an_average_of_weights_leaves_it_alone(system, images):
    average = AveragedModel(system, use_buffers=True)
    with torch.no_grad():
        system.restorer.weight.mul_(0.9)
    average.update_parameters(system)
    average.update_parameters(system)
    torch.testing.assert_close(weights(average.module), weights(system), rtol=0, atol=0)
    assert average(images, LABEL).isfinite()


@pytest.mark.distributed
def test_a_distributed_system_sends_no_recognizer(system, images, tmp_path):
    loss = system(images, LABEL)
    expected = torch.autograd.grad(loss, list(system.restorer.parameters()))
    distributed.init_process_group('gloo', init_method=f'file://{tmp_path}/store', rank=0, world_size=1)
    try:
        wrapped = nn.parallel.DistributedDataParallel(system)
        assert len(list(wrapped.parameters())) == 2 and not list(wrapped.buffers())
        wrapped(images, LABEL).backward()
    finally:
        distributed.destroy_process_group()
    for parameter, gradient in zip(system.restorer.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


@pytest.mark.slow
@pytest.mark.parametrize('name', ['RecogLoss', 'RecogFeatureLoss'])
def test_a_compiled_system_computes_the_same(name, images):
    system = SYSTEMS[name]()
    expected = torch.autograd.grad(system(images, LABEL), system.restorer.weight)[0]
    torch.compile(system, backend='eager')(images, LABEL).backward()
    torch.testing.assert_close(system.restorer.weight.grad, expected)
    torch.compiler.reset()


def test_several_gpus_of_one_process_are_refused_in_one_line():
    with pytest.raises(ValueError, match=r'^ModuleRecognizer\(NormNet\): DataParallel cannot copy a frozen recognizer'):
        a_recognizer()._replicate_for_data_parallel()


def test_one_that_learns_is_registered_with_parameters_and_state(images):
    system = SYSTEMS['RecogLoss']()
    system.recognizer.unfreeze()
    names = {name for name, _ in system.named_parameters()}
    assert 'judge.recognizer.model.head.weight' in names and not system.recognizer.hidden()
    assert set(system.state_dict()) > names and system.recognizer.model.training
    system.eval()
    before = weights(system)
    optimizer = torch.optim.SGD(system.parameters(), lr=0.1)
    system(images, LABEL).backward()
    optimizer.step()
    assert not torch.equal(weights(system)[0], before[0])
    other = SYSTEMS['RecogLoss']()
    other.recognizer.unfreeze()
    other.load_state_dict(system.state_dict(), strict=True)
    torch.testing.assert_close(weights(other), weights(system), rtol=0, atol=0)


def test_what_cannot_learn_says_so():
    with pytest.raises(ValueError, match='an? EnsembleRecognizer cannot learn'):
        EnsembleRecognizer([a_recognizer()]).unfreeze()


def test_parameters_and_buffers_of_a_recognizers_own_class_are_out_of_sight_too():
    class Scaled(ModuleRecognizer):
        def __init__(self):
            super().__init__(NormNet(), mean=[0.5] * 3, std=[0.2] * 3)
            self.scale = nn.Parameter(torch.ones(1))
            self.register_buffer('shift', torch.zeros(1))

    system = System(Scaled())
    assert list(system.state_dict()) == ['restorer.weight', 'restorer.bias']
    system.double()
    assert system.recognizer.scale.dtype == system.recognizer.shift.dtype == torch.float64


# A caller's own network

def own(network):
    """All that could change about a network."""
    return (copy.deepcopy(network.state_dict()), [module.training for module in network.modules()],
            [p.requires_grad for p in network.parameters()], [type(module) for module in network.modules()],
            [len(module._forward_hooks) for module in network.modules()], list(vars(network)))


@pytest.mark.parametrize('use', [
    lambda net: RecogLoss({'type': 'ModuleRecognizer', 'module': net, 'mean': [0.5] * 3, 'std': [0.2] * 3}),
    lambda net: RecogLoss({'type': 'ModuleRecognizer', 'module': net, 'mean': [0.5] * 3, 'std': [0.2] * 3,
                           'trainable': True}),
    lambda net: RecogLoss(net, mean=[0.5] * 3, std=[0.2] * 3, gradient_checkpointing=True),
    lambda net: RecogFeatureLoss(net, mean=[0.5] * 3, std=[0.2] * 3),
    lambda net: RecogLoss(build_recognizer(net, mean=[0.5] * 3, std=[0.2] * 3)),
    lambda net: RecogLoss({'type': 'EnsembleRecognizer', 'recognizers': [
        {'type': 'ModuleRecognizer', 'module': net, 'mean': [0.5] * 3, 'std': [0.2] * 3}]}),
], ids=['block', 'trainable', 'network, checkpointed', 'feature loss', 'build_recognizer', 'ensemble'])
def test_a_callers_network_stays_as_it_is(use, images):
    net = NormNet().train()
    before = own(net)
    loss = use(net)
    images.requires_grad_()
    loss(images, LABEL if loss.needs == 'label' else images.detach()).sum().backward()
    after = own(net)
    torch.testing.assert_close(after[0], before[0], rtol=0, atol=0)
    assert after[1:] == before[1:] and all(p.grad is None for p in net.parameters())
    nn.init.normal_(net.head.weight)  # nor does what its owner does change the loss
    again = loss.recognizer.networks().__next__()
    torch.testing.assert_close(again.head.weight, before[0]['head.weight'], rtol=0, atol=0)


def test_a_network_that_cannot_be_copied_says_what_to_do():
    net = NormNet()
    net.file = io.BufferedReader(io.FileIO('/dev/null'))
    with pytest.raises(ValueError, match=r'ModuleRecognizer\(NormNet\): the network cannot be copied \(TypeError.*'
                                         r'Give the function that builds it'):
        ModuleRecognizer(net, mean=[0.5] * 3, std=[0.2] * 3)


def test_a_compiled_network_is_taken_out_of_its_wrapper(images):
    net = NormNet().eval()
    recognizer = ModuleRecognizer(torch.compile(net, backend='eager'), mean=[0] * 3, std=[1] * 3)
    assert isinstance(recognizer.model, NormNet)
    torch.testing.assert_close(recognizer.logits(images), net(images))
