"""Mends that let BasicSR 1.4.2 train, resume and run distributed without a GPU; a run on a GPU stays as it was."""
import functools
from collections.abc import Callable

import basicsr.train
import torch
from basicsr.models import realesrgan_model, realesrnet_model
from basicsr.models.base_model import BaseModel
from basicsr.utils import dist_util
from torch.nn.parallel import DistributedDataParallel

from ra_plugin.compat.patching import replace


def apply() -> None:
    """Apply each mend; call it once."""
    gloo()
    ddp_on_cpu()
    realesr_on_cpu()
    prefetch_without_cuda()


def resume(load_resume_state: Callable[[dict], dict | None]) -> None:
    """Replace BasicSR's reader of training states, which asks for a CUDA device and looks below the working directory.

    The first raises without a GPU. The second finds nothing from another folder: the run is archived and starts over.
    """
    basicsr.train.load_resume_state = load_resume_state


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
