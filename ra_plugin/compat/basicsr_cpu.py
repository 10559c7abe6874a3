"""Patches that let BasicSR 1.4.2 train, resume and run distributed without a GPU; GPU runs are unchanged."""
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
    """Apply all patches; call it once."""
    gloo()
    ddp_on_cpu()
    realesr_on_cpu()
    prefetch_without_cuda()


def resume(load_resume_state: Callable[[dict], dict | None]) -> None:
    """Replace BasicSR's reader of training states.

    It asks for the current CUDA device, which raises without a GPU, and with ``--auto_resume`` it searches below the
    working directory: started from another folder, it finds nothing, and the run is archived and starts over.
    """
    basicsr.train.load_resume_state = load_resume_state


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
        for name in ('DiffJPEG', 'USMSharp'):
            vars(module)[name] = _on_input_device(getattr(module, name))

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
