"""Complete training states, written atomically, from which a run resumes as if it had never stopped."""
import os
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from ra_plugin.checkpoint import OWN_KEY
from ra_plugin.models.host import Host
from ra_plugin.utils.atomic import atomic_save
from ra_plugin.utils.processes import anywhere, gathered
from ra_plugin.utils.random_streams import random_streams, set_random_streams

_POOL = ('queue_lr', 'queue_gt', 'queue_ptr', 'queue_label')  # pair pool of RealESRNet and RealESRGAN


class SaveError(OSError):
    """Raised when a checkpoint could not be written; earlier checkpoints are unchanged."""


class ResumableMixin(Host):
    """Mixin with complete training states for a class derived from BaseModel; put it before that class in the bases.

    Besides optimizers and schedules a state has the random states of each process, the pair pool, the draws of
    ensembles, the recognition budget and the best scores. Unmodified BasicSR can read it, and ignores them.
    """

    def save(self, epoch: int, current_iter: int) -> None:
        """Write all networks, then the training state, so that a state always has the networks of its iteration.

        Raises:
            SaveError: The disk is full or not writable.
        """
        self._own_states = gathered(self._own_state())  # from all processes; the first one writes
        self._saved_networks: list[str] = []
        problem = None
        try:
            super().save(epoch, current_iter)
        except SaveError as error:
            problem = error
        if anywhere(problem is not None):  # all processes have to know that this state does not exist
            raise problem or SaveError('The first process could not write the checkpoint.')

    def save_network(self, net: nn.Module | list[nn.Module], net_label: str, current_iter: int,
                     param_key: str | list[str] = 'params') -> None:
        self._saved_networks.append(net_label.removeprefix('net_'))
        if self.opt['rank']:
            return
        nets = net if isinstance(net, list) else [net]
        keys = param_key if isinstance(param_key, list) else [param_key]
        weights = {key: self._weights(one) for one, key in zip(nets, keys, strict=True)}
        self._write(weights, 'models', f'{net_label}_{"latest" if current_iter == -1 else current_iter}.pth')

    def keep_network(self, net: nn.Module, name: str) -> None:
        """Write a network to the folder of the networks, apart from those of a training state."""
        if not self.opt['rank']:
            self._write({'params': self._weights(net)}, 'models', name)

    def _weights(self, net: nn.Module) -> dict[str, torch.Tensor]:
        return {name.removeprefix('module.'): value.cpu()
                for name, value in self.get_bare_model(net).state_dict().items()}

    def save_training_state(self, epoch: int, current_iter: int) -> None:
        if self.opt['rank'] or current_iter == -1:
            return
        self._write({
            'epoch': epoch, 'iter': current_iter,
            'optimizers': [optimizer.state_dict() for optimizer in self.optimizers],
            'schedulers': [scheduler.state_dict() for scheduler in self.schedulers],
            OWN_KEY: {'processes': self._own_states, 'best_metric_results': self._best_scores(),
                      'manual_seed': self.opt.get('manual_seed'), 'networks': self._saved_networks},
        }, 'training_states', f'{current_iter}.state')

    def _write(self, content: Mapping, folder: str, name: str) -> None:
        path = os.path.join(self.opt['path'][folder], name)
        try:
            atomic_save(content, path)
        except (OSError, RuntimeError) as error:  # torch raises RuntimeError if a write fails
            reason = getattr(error, 'strerror', None) or str(error).strip().splitlines()[0]
            raise SaveError(f'{path}: cannot be written ({reason}). Earlier checkpoints are unchanged.') from error

    def resume_training(self, resume_state: Mapping[str, Any]) -> None:
        """Resume from a state; call it last, since it also sets the random states.

        A state of unmodified BasicSR, or of another number of processes, has no random states for this process, whose
        own are then kept.
        """
        super().resume_training(resume_state)
        own = resume_state.get(OWN_KEY) or {}
        self._load_networks(own.get('networks') or ())
        if own.get('best_metric_results'):
            self.best_metric_results = own['best_metric_results']
        processes = own.get('processes') or []
        if len(processes) == self.opt['world_size']:
            self._set_own_state(processes[self.opt['rank']])

    # ------------------------------------------------------- not saved by BasicSR
    def _load_networks(self, names: Iterable[str]) -> None:
        """Load all networks from the files set for resuming; HiFaceGANModel itself never loads its discriminator."""
        paths = self.opt['path']
        for name in names:
            if f'network_{name}' not in (paths.get('ignore_resume_networks') or ()):
                self.load_network(getattr(self, f'net_{name}'), paths[f'pretrain_network_{name}'],
                                  paths.get(f'strict_load_{name}', True), 'params')

    def _own_state(self) -> dict[str, Any]:
        budget = getattr(self, 'budget', None)
        return {
            'random': random_streams(),
            'cuda': torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            'draws': [generator.get_state() for generator in private_generators(self)],
            'pool': {name: packed(getattr(self, name)) for name in _POOL if hasattr(self, name)},
            'budget': budget.state_dict() if budget else None,
        }

    def _set_own_state(self, state: Mapping[str, Any]) -> None:
        for name, value in state['pool'].items():
            setattr(self, name, unpacked(value, self.device))
        for generator, value in zip(private_generators(self), state['draws'], strict=True):
            generator.set_state(value)
        budget = getattr(self, 'budget', None)
        if budget and state.get('budget'):
            budget.load_state_dict(state['budget'])
        set_random_streams(state['random'])
        if len(state['cuda']) == torch.cuda.device_count():  # otherwise the run was moved to another machine
            torch.cuda.set_rng_state_all(state['cuda'])

    def _best_scores(self) -> dict:
        """Return the best scores so far as plain numbers, because a state must not contain numpy objects."""
        return {data: {name: {'better': best['better'], 'val': float(best['val']), 'iter': best['iter']}
                       for name, best in scores.items()}
                for data, scores in getattr(self, 'best_metric_results', {}).items()}


def private_generators(model: Any) -> list[torch.Generator]:
    """Return the generators owned by recognizers of the model's losses, e.g. by an ensemble that draws members."""
    modules = getattr(model, 'cri_recog', nn.ModuleList()).modules()
    found = (getattr(module, 'generator', None) for module in modules)
    return [generator for generator in found if isinstance(generator, torch.Generator)]


def packed(value: Any) -> Any:
    """Return images as uint8, a quarter of the size, if that is lossless: 8-bit files give multiples of 1/255."""
    if not isinstance(value, torch.Tensor):
        return value
    value = value.detach().cpu()
    if not value.is_floating_point():
        return value.clone()
    small = (value * 255).round().clamp(0, 255).to(torch.uint8)
    return small if torch.equal(small.float() / 255, value) else value.clone()


def unpacked(value: Any, device: torch.device) -> Any:
    """Return the original value of `packed`, on ``device``."""
    if not isinstance(value, torch.Tensor):
        return value
    return (value.float() / 255 if value.dtype == torch.uint8 else value).to(device)
