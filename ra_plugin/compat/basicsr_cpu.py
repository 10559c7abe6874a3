"""Mends that let BasicSR 1.4.2 train, resume and run distributed without a GPU; a GPU run is what it was."""
import functools
from collections import Counter
from pathlib import Path

import basicsr.train
import torch
from basicsr.models import realesrgan_model, realesrnet_model
from basicsr.models.base_model import BaseModel
from basicsr.utils import check_resume, dist_util, get_root_logger
from torch.nn.parallel import DistributedDataParallel

from ra_plugin.checkpoint import OWN_KEY, load_file
from ra_plugin.compat import replace
from ra_plugin.utils.atomic import is_intact


def apply() -> None:
    """Apply each mend; call it once."""
    resume()
    gloo()
    ddp_on_cpu()
    realesr_on_cpu()
    prefetch_without_cuda()


def resume() -> None:
    """Resuming asks for the current CUDA device, and ``--auto_resume`` looks below the working directory.

    The first raises without a GPU. The second finds nothing from another folder: the run is archived and starts over.
    On a GPU the optimizer moves the state to its parameters itself, as it does for what is loaded here.
    """
    basicsr.train.load_resume_state = load_resume_state


def load_resume_state(opt: dict) -> dict | None:
    """Load the training state that the options ask for, and point ``pretrain_network_*`` to its networks.

    The file is read with ``weights_only``: it may hold tensors, numbers, text, lists, dicts and counters (the
    milestones of a schedule), no code. Tensors arrive on the CPU.

    Args:
        opt: Parsed options. ``auto_resume`` takes the newest state of the experiment whose files are all undamaged, and
            warns of those that are not; else ``path.resume_state``.

    Returns:
        The state, or ``None`` when there is nothing to resume.

    Raises:
        ValueError: There are states, and none of them is whole.
    """
    if opt['auto_resume']:
        states = [path for path in Path(opt['path']['training_states']).glob('*.state') if path.stem.isdigit()]
        states.sort(key=lambda path: int(path.stem), reverse=True)
    else:
        states = [Path(opt['path']['resume_state'])] if opt['path'].get('resume_state') else []
    if not opt['auto_resume'] and states and not states[0].is_file():
        raise ValueError(f'path.resume_state: no file {states[0]}.')
    for path in states:
        state = _read_state(path)
        damaged = path if state is None else _damaged_network(state, opt)
        if state is not None and damaged is None:
            opt['path']['resume_state'] = str(path)
            names = _networks(state, opt)
            others = {key: value for key, value in opt['path'].items()
                      if key.startswith('pretrain_network_') and key.removeprefix('pretrain_network_') not in names}
            check_resume(opt, state['iter'])
            for name in (key.removeprefix('network_') for key in opt if key.startswith('network_')):
                if name not in names:  # the run never saves it, so it is what it was at the start
                    opt['path'][f'pretrain_network_{name}'] = others.get(f'pretrain_network_{name}')
            return state
        get_root_logger().warning(f'{damaged}: missing or damaged, so {path.name} cannot be resumed from.')
    if states:
        raise ValueError(f'{states[0].parent}: no training state to resume from is whole. Look at the warnings above; '
                         'to start again, move the folder of this run away.')
    return None


def _read_state(path: Path) -> dict | None:
    """A training state, or None where the file is damaged; raises ValueError where it is something else."""
    if not is_intact(path):
        return None
    with torch.serialization.safe_globals([Counter]):
        state = load_file(path, 'path.resume_state')
    if not isinstance(state, dict) or not {'epoch', 'iter', 'optimizers', 'schedulers'} <= state.keys():
        raise ValueError(f'path.resume_state: {path} is no training state. Those end in .state.')
    return state


def _networks(state: dict, opt: dict) -> list[str]:
    """The networks that were saved with a state, as far as they are to be resumed: ``['g', 'd']``."""
    kept = opt['path'].get('ignore_resume_networks') or ()
    saved = (state.get(OWN_KEY) or {}).get('networks')
    names = [key.removeprefix('network_') for key in opt if key.startswith('network_')] if saved is None else saved
    return [name for name in names if f'network_{name}' not in kept]


def _damaged_network(state: dict, opt: dict) -> Path | None:
    """The first of the networks of a state whose file is missing or damaged."""
    files = (Path(opt['path']['models']) / f'net_{name}_{state["iter"]}.pth' for name in _networks(state, opt))
    return next((file for file in files if not is_intact(file)), None)


def gloo() -> None:
    """``--launcher pytorch`` divides by the number of GPUs and starts nccl: without a GPU, ``ZeroDivisionError``.

    Inert where CUDA is available. ``init_dist`` looks the function up when called, so all who imported it are served.
    """

    @replace(dist_util, '_init_dist_pytorch')
    def init_dist_pytorch(original, backend, **kwargs):
        if torch.cuda.is_available():
            return original(backend, **kwargs)
        return torch.distributed.init_process_group(backend='gloo', **kwargs)


def ddp_on_cpu() -> None:
    """``model_to_device`` gives DistributedDataParallel a CUDA device, also to a network that is on the CPU.

    Inert for models on a GPU and without ``dist``.
    """

    @replace(BaseModel, 'model_to_device')
    def model_to_device(original, self, net):
        if not self.opt['dist'] or self.device.type != 'cpu':
            return original(self, net)
        return DistributedDataParallel(
            net.to(self.device), find_unused_parameters=self.opt.get('find_unused_parameters', False))


def realesr_on_cpu() -> None:
    """The RealESRNet and RealESRGAN models put their JPEG, sharpening and pair pool on CUDA, whatever ``num_gpu`` says.

    The two modules now work where their input is, and a pool for images on the CPU is made there before BasicSR makes
    its own. On a GPU all of it ends up on the device where it was.
    """
    for module, model in ((realesrnet_model, realesrnet_model.RealESRNetModel),
                          (realesrgan_model, realesrgan_model.RealESRGANModel)):
        for name in ('DiffJPEG', 'USMSharp'):
            vars(module)[name] = _on_input_device(getattr(module, name))

        @replace(model, '_dequeue_and_enqueue')
        def dequeue_and_enqueue(original, self):
            size = self.queue_size
            # BasicSR's own check of the size comes with its own pool: leave it to that
            if not hasattr(self, 'queue_lr') and self.lq.device.type == 'cpu' and size % len(self.lq) == 0:
                self.queue_lr = self.lq.new_zeros(size, *self.lq.shape[1:])
                self.queue_gt = self.gt.new_zeros(size, *self.gt.shape[1:])
                self.queue_ptr = 0
            return original(self)


@functools.cache
def _on_input_device(cls: type) -> type:
    """A subclass of the module ``cls`` that ignores ``cuda()`` and works on the device of its input."""

    class OnInputDevice(cls):

        def cuda(self, device=None):
            return self

        def forward(self, img, *args, **kwargs):
            self.to(img.device)
            return super().forward(img, *args, **kwargs)

    OnInputDevice.__name__ = OnInputDevice.__qualname__ = cls.__name__
    return OnInputDevice


def prefetch_without_cuda() -> None:
    """``prefetch_mode: cuda`` opens a CUDA stream: without a GPU the plain prefetcher takes its place.

    Inert where CUDA is available.
    """

    @replace(basicsr.train, 'CUDAPrefetcher')
    def prefetcher(original, loader, opt):
        return original(loader, opt) if torch.cuda.is_available() else basicsr.train.CPUPrefetcher(loader)
