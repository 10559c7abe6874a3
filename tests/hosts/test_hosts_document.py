"""The examples of docs/HOSTS.md: they run, against deepinv and Lightning where installed, else by how these call."""
import importlib.util
import re
import sys
import types
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import yaml
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from ra_plugin import RecogConsistencyLoss
from ra_plugin.hosts.redux_losses import LOSSES

TEXT = (Path(__file__).parents[2] / 'docs' / 'HOSTS.md').read_text()
TINY = {'type': 'TimmRecognizer', 'model_name': 'test_resnet', 'pretrained': False}
THEIRS = "{'type': 'TimmRecognizer', 'model_name': 'resnet18.tv_in1k', 'pretrained': True}"


def examples(heading, language='python'):
    """The blocks of code below a heading, with a recognizer that needs no download."""
    section = TEXT.split(f'\n## {heading}\n')[1].split('\n## ')[0]
    return [block.replace(THEIRS, repr(TINY)) for block in re.findall(rf'```{language}\n(.*?)```', section, re.DOTALL)]


def module(name, **members):
    made = types.ModuleType(name)
    vars(made).update(members)
    return made


class StubLoss(nn.Module):
    """deepinv's base class of losses."""

    def adapt_model(self, model):
        return model


class StubSupLoss(StubLoss):
    def forward(self, x_net, x, **others):
        return F.mse_loss(x_net, x)


class StubTrainer:
    """How deepinv's trainer calls: measures the clean images, and adds up the means of the losses."""

    def __init__(self, **options):
        vars(self).update(options)

    def train(self):
        for loss in self.losses:
            self.model = loss.adapt_model(self.model)
        for x in self.train_dataloader:
            y = self.physics(x)
            x_net = self.model(y, self.physics)
            self.optimizer.zero_grad()
            sum(loss(x=x, x_net=x_net, y=y, physics=self.physics, model=self.model, epoch=0).mean()
                for loss in self.losses).backward()
            self.optimizer.step()


class Reconstruction(nn.Module):
    """A network in deepinv's form."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, y, physics, **others):
        return self.conv(y)


@pytest.mark.slow
def test_deepinv_takes_a_step_with_the_gradient_of_both_losses(monkeypatch):
    images = torch.rand(2, 3, 32, 32)
    if importlib.util.find_spec('deepinv'):
        import deepinv
        physics = deepinv.physics.Denoising(deepinv.physics.GaussianNoise(0.0))
    else:
        losses = module('deepinv.loss', Loss=StubLoss, SupLoss=StubSupLoss)
        monkeypatch.setitem(sys.modules, 'deepinv', module('deepinv', loss=losses, Trainer=StubTrainer))
        physics = nn.Identity()
    model = Reconstruction()
    before = [parameter.detach().clone() for parameter in model.parameters()]
    output = model(images, physics)
    recognition = RecogConsistencyLoss(TINY, loss_weight=1e-3)
    wanted = torch.autograd.grad(F.mse_loss(output, images) + recognition(output, images), list(model.parameters()))
    names = {'model': model, 'physics': physics, 'optimizer': torch.optim.SGD(model.parameters(), lr=1.0),
             'batches': DataLoader(images, batch_size=2), 'device': 'cpu'}
    exec(examples('deepinv')[0], names)
    for old, new, gradient in zip(before, names['trainer'].model.parameters(), wanted, strict=True):
        torch.testing.assert_close(old - new.detach(), gradient, rtol=1e-4, atol=1e-6)


class StubLightningTrainer:
    def __init__(self, **options):
        pass

    def fit(self, model, batches):
        model.train()
        optimizer = model.configure_optimizers()
        for number, batch in enumerate(batches):
            optimizer.zero_grad()
            model.training_step(batch, number).backward()
            optimizer.step()


@pytest.mark.slow
def test_lightning_trains_the_network_alone(monkeypatch, tmp_path):
    if not importlib.util.find_spec('lightning'):
        monkeypatch.setitem(sys.modules, 'lightning', module('lightning', LightningModule=nn.Module,
                                                            Trainer=StubLightningTrainer))
    names = {}
    exec(examples('Lightning')[0], names)
    system = names['Restoration'](nn.Conv2d(3, 3, 3, padding=1))
    recognizer = system.recognition.recognizer
    before = {name: value.clone() for name, value in recognizer.model.state_dict().items()}
    first = system.network.weight.detach().clone()
    assert set(system.state_dict()) == {'network.weight', 'network.bias'} == set(dict(system.named_parameters()))
    trainer = names['lightning'].Trainer(max_steps=2, accelerator='cpu', logger=False, enable_checkpointing=False,
                                         enable_progress_bar=False, enable_model_summary=False,
                                         default_root_dir=str(tmp_path))
    trainer.fit(system, DataLoader(TensorDataset(torch.rand(4, 3, 32, 32), torch.rand(4, 3, 32, 32)), batch_size=2))
    assert (system.network.weight != first).any()
    assert all(torch.equal(value, before[name]) for name, value in recognizer.model.state_dict().items())
    assert not any(part.training for part in recognizer.model.modules())


def test_neosr_registers_a_class(monkeypatch):
    taken = []
    registry = module('neosr.utils.registry', LOSS_REGISTRY=types.SimpleNamespace(register=taken.append))
    for name in ('neosr', 'neosr.utils'):
        monkeypatch.setitem(sys.modules, name, module(name))
    monkeypatch.setitem(sys.modules, 'neosr.utils.registry', registry)
    exec(examples('neosr')[0], {'RecogConsistencyLoss': RecogConsistencyLoss})
    assert taken == [RecogConsistencyLoss]


@pytest.mark.slow
def test_the_blocks_for_trainner_redux_build_their_losses():
    whole, labeled = examples('traiNNer-redux', 'yaml')
    blocks = [*yaml.safe_load(whole)['train']['losses'], *yaml.safe_load(labeled)]
    kinds = {loss.__name__: loss for loss in LOSSES}
    built = [kinds[block.pop('type')](**{**block, 'recognizer': TINY}) for block in blocks[1:]]
    assert [loss.loss_weight for loss in built] == [1e-3, 1e-3]
    assert built[1].options.classes == 'classes.txt'
