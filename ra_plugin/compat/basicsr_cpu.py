"""Patches that let BasicSR 1.4.2 train, resume and run distributed without a GPU; GPU runs are unchanged."""
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
    """Apply all patches; call it once."""
    resume()
    gloo()
    ddp_on_cpu()
    realesr_on_cpu()
    prefetch_without_cuda()


def resume() -> None:
    """Replace BasicSR's ``load_resume_state`` by `load_resume_state`.

    BasicSR's asks for the current CUDA device, which raises without a GPU, and with ``--auto_resume`` it searches below
    the working directory: started from another folder, it finds nothing, and the run is archived and starts over. On a
    GPU the optimizer itself moves the state to the device of its parameters.
    """
    basicsr.train.load_resume_state = load_resume_state


def load_resume_state(opt: dict) -> dict | None:
    """Load the training state selected by the options, and set ``pretrain_network_*`` to its networks.

    The file is read with ``weights_only``: it may contain tensors, numbers, text, lists, dicts and counters (the
    milestones of a schedule), but no code. Tensors are loaded to the CPU.

    Args:
        opt: Parsed options. ``auto_resume`` selects the newest state of the experiment whose files are all intact, and
            warns about damaged ones; otherwise ``path.resume_state`` is used.

    Returns:
        The state, or None if there is nothing to resume.

    Raises:
        ValueError: There are states, but none is intact.
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
        if damaged is None:
            opt['path']['resume_state'] = str(path)
            names = _networks(state, opt)
            others = {key: value for key, value in opt['path'].items()
                      if key.startswith('pretrain_network_') and key.removeprefix('pretrain_network_') not in names}
            check_resume(opt, state['iter'])
            for name in (key.removeprefix('network_') for key in opt if key.startswith('network_')):
                if name not in names:  # the run never saves it, so it is still the one from the start
                    opt['path'][f'pretrain_network_{name}'] = others.get(f'pretrain_network_{name}')
            return state
        get_root_logger().warning(f'{damaged}: missing or damaged, so {path.name} cannot be resumed from.')
    if states:
        raise ValueError(f'{states[0].parent}: no training state is intact. See the warnings above; to start again, '
                         "move this run's folder away.")
    return None


def _read_state(path: Path) -> dict | None:
    """Return a training state, or None for a damaged file; raise ValueError for another kind of file."""
    if not is_intact(path):
        return None
    with torch.serialization.safe_globals([Counter]):
        state = load_file(path, 'path.resume_state')
    if not isinstance(state, dict) or not {'epoch', 'iter', 'optimizers', 'schedulers'} <= state.keys():
        raise ValueError(f'path.resume_state: {path} is not a training state. Training states end in .state.')
    return state


def _networks(state: dict, opt: dict) -> list[str]:
    """Return the networks saved with a state that are to be resumed, e.g. ``['g', 'd']``."""
    kept = opt['path'].get('ignore_resume_networks') or ()
    saved = (state.get(OWN_KEY) or {}).get('networks')
    names = [key.removeprefix('network_') for key in opt if key.startswith('network_')] if saved is None else saved
    return [name for name in names if f'network_{name}' not in kept]


def _damaged_network(state: dict, opt: dict) -> Path | None:
    """Return the first network file of a state that is missing or damaged; None if all are intact."""
    files = (Path(opt['path']['models']) / f'net_{name}_{state["iter"]}.pth' for name in _networks(state, opt))
    return next((file for file in files if not is_intact(file)), None)


def gloo() -> None:
    """Use gloo for ``--launcher pytorch`` without a GPU.

    BasicSR starts nccl and divides by the number of GPUs, which raises ``ZeroDivisionError``. Has no effect with CUDA.
    ``init_dist`` looks the function up when it is called, so modules that imported ``init_dist`` use the patch, too.
    """

    @replace(dist_util, '_init_dist_pytorch')
    def init_dist_pytorch(original, backend, **kwargs):
        if torch.cuda.is_available():
            return original(backend, **kwargs)
        return torch.distributed.init_process_group(backend='gloo', **kwargs)


def ddp_on_cpu() -> None:
    """Create DistributedDataParallel without CUDA device ids for networks on the CPU.

    ``model_to_device`` always passes a CUDA device. Has no effect on models on a GPU, and without ``dist``.
    """

    @replace(BaseModel, 'model_to_device')
    def model_to_device(original, self, net):
        if not self.opt['dist'] or self.device.type != 'cpu':
            return original(self, net)
        return DistributedDataParallel(
            net.to(self.device), find_unused_parameters=self.opt.get('find_unused_parameters', False))


def realesr_on_cpu() -> None:
    """Keep JPEG, sharpening and pair pool of the RealESRNet and RealESRGAN models on the device of the images.

    BasicSR moves them to CUDA, whatever ``num_gpu`` says. The two modules now work on the device of their input, and
    for images on the CPU the pool is created there before BasicSR creates its own. On a GPU the devices are unchanged.
    """
    for module, model in ((realesrnet_model, realesrnet_model.RealESRNetModel),
                          (realesrgan_model, realesrgan_model.RealESRGANModel)):
        module.DiffJPEG = _on_input_device(module.DiffJPEG)
        module.USMSharp = _on_input_device(module.USMSharp)

        @replace(model, '_dequeue_and_enqueue')
        def dequeue_and_enqueue(original, self):
            size = self.queue_size
            # BasicSR checks the size when it creates its own pool: leave other sizes to it
            if not hasattr(self, 'queue_lr') and self.lq.device.type == 'cpu' and size % len(self.lq) == 0:
                self.queue_lr = self.lq.new_zeros(size, *self.lq.shape[1:])
                self.queue_gt = self.gt.new_zeros(size, *self.gt.shape[1:])
                self.queue_ptr = 0
            return original(self)


@functools.cache
def _on_input_device(cls: type) -> type:
    """Return a subclass of the module ``cls`` that ignores ``cuda()`` and works on the device of its input."""

    class OnInputDevice(cls):

        def cuda(self, device=None):
            return self

        def forward(self, img, *args, **kwargs):
            self.to(img.device)
            return super().forward(img, *args, **kwargs)

    OnInputDevice.__name__ = OnInputDevice.__qualname__ = cls.__name__
    return OnInputDevice


def prefetch_without_cuda() -> None:
    """Use the CPU prefetcher for ``prefetch_mode: cuda`` without a GPU, where no CUDA stream can be opened.

    Has no effect with CUDA.
    """

    @replace(basicsr.train, 'CUDAPrefetcher')
    def prefetcher(original, loader, opt):
        return original(loader, opt) if torch.cuda.is_available() else basicsr.train.CPUPrefetcher(loader)
