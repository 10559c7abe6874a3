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
    for path in states:
        damaged = _damaged_file(path, opt)
        if damaged is None:
            opt['path']['resume_state'] = str(path)
            with torch.serialization.safe_globals([Counter]):
                state = torch.load(path, map_location='cpu', weights_only=True)
            check_resume(opt, state['iter'])
            return state
        get_root_logger().warning(f'{damaged}: missing or damaged, so {path.name} cannot be resumed from.')
    if states:
        raise ValueError(f'{states[0].parent}: no training state to resume from is whole. Look at the warnings above; '
                         'to start again, move the folder of this run away.')
    return None


def _damaged_file(state: Path, opt: dict) -> Path | None:
    """The first of a state's own file and the networks of its iteration that is missing or damaged."""
    kept = opt['path'].get('ignore_resume_networks') or ()
    names = [key.removeprefix('network_') for key in opt if key.startswith('network_') and key not in kept]
    models = Path(opt['path']['models'])
    files = [state, *(models / f'net_{name}_{state.stem}.pth' for name in names)]
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
        module.DiffJPEG = _on_input_device(module.DiffJPEG)
        module.USMSharp = _on_input_device(module.USMSharp)

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
