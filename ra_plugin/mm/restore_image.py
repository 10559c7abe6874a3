"""A restoration network as a transform: detectors and segmenters are trained or scored on restored images."""
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ra_plugin.metrics.psnr_ssim import to_uint8
from ra_plugin.mm.loaded_image import get_rgb, put_rgb
from ra_plugin.options import OptionError, check_arguments
from ra_plugin.utils.optional import require
from ra_plugin.utils.tensors import denormalized, extended, normalized


class RestoreImage:
    """The image that a restoration network makes of the loaded one, at full resolution and rounded to 8 bit.

    Put it right after ``LoadImageFromFile``, or after ``DegradeImage`` where that degrades clean images first. Which
    grid the annotations are on decides where boxes and masks have to be predicted:

    * Clean images that ``DegradeImage`` degrades: the annotations are on the grid of the clean image, and so is the
      restored image. Nothing to set.
    * Degraded files, with the annotations of their clean versions: the restored image is on that grid. Nothing to set.
    * Degraded files, annotated as they are, and a network that enlarges: ``keep_ori_shape=True`` lets masks be
      predicted on the grid of the file, and ``ScaleToOriShape`` after ``Resize`` boxes, too. For testing only:
      in training, annotations would have to grow with the image.

    Args:
        network: Block as ``network_g`` in an option file, e.g. ``dict(type='SRResNet', upscale=4)``: any architecture
            of BasicSR's registry. Default: None, bicubic interpolation: the images without restoration, to compare.
        checkpoint: BasicSR's ``.pth`` (``params_ema`` first, then ``params``) or safetensors; every key has to fit.
            Default: None, for a network that has no weights.
        scale: Factor by which the network enlarges, checked on each image. Default: what the block says under
            ``upscale`` or ``scale``, else 1.
        keep_ori_shape: Whether predictions are for the loaded image, not for the restored one. Default: False.
        multiple_of: The network takes heights and widths that this number divides: an image is extended by its mirror
            image, and the result is cut. Default: 1.
        mean, std: The network takes and makes images that are normalized with them, RGB on the ``[0, 1]`` scale.
            Default: None, images in ``[0, 1]``.
        device: ``'auto'``, ``'cpu'``, ``'cuda'``, ...; ``'auto'`` is the GPU with ``num_workers=0`` in the
            data loader, else the CPU: a forked worker cannot use the GPU of its parent. Default: ``'auto'``.

    Shape:
        BGR ``(h, w, 3)`` in ``[0, 255]``, uint8 or float32, to BGR uint8 ``(scale * h, scale * w, 3)``, or to the size
        of the clean image that ``DegradeImage`` saw.

    Raises:
        OptionError: An argument is invalid, or there is no such architecture.
        ValueError: The checkpoint does not fit, or, once an image comes, the scale does not.
    """

    def __init__(self, network: Mapping | None = None, checkpoint: str | None = None, scale: int | None = None,
                 keep_ori_shape: bool = False, multiple_of: int = 1, device: str = 'auto',
                 mean: Sequence[float] | None = None, std: Sequence[float] | None = None):
        check_arguments(type(self), {
            'network': network, 'checkpoint': checkpoint, 'scale': scale, 'keep_ori_shape': keep_ori_shape,
            'multiple_of': multiple_of, 'device': device, 'mean': mean, 'std': std}, 'RestoreImage')
        if (mean is None) != (std is None):
            raise OptionError('RestoreImage: expected mean and std, or neither.')
        block = network or {}
        self.scale = scale if scale is not None else block.get('upscale', block.get('scale', 1))
        for key, value in (('scale', self.scale), ('multiple_of', multiple_of)):
            if value < 1:
                raise OptionError(f'RestoreImage.{key}: expected 1 or more, got {value}.')
        if checkpoint and not network:
            raise OptionError("RestoreImage: a checkpoint needs its network, e.g. network=dict(type='SRResNet').")
        self.network = _build(network, checkpoint) if network else None
        self.keep_ori_shape = keep_ori_shape
        self.multiple_of, self.mean, self.std = multiple_of, mean, std
        self.device = device

    def __call__(self, results: dict) -> dict:
        image = get_rgb(results, 'RestoreImage')
        restored = self._restore(image)
        if not self.keep_ori_shape:
            if 'clean_shape' in results:  # DegradeImage may have extended the clean image
                restored = self._cut(restored, results['clean_shape'])
            results['ori_shape'] = restored.shape[:2]
        return put_rgb(results, restored)

    @torch.inference_mode()
    def _restore(self, image: np.ndarray) -> np.ndarray:
        device = self._device()
        lq = torch.from_numpy(image).to(device).permute(2, 0, 1)[None].float() / 255
        if self.network is not None:
            output = self._run(self.network.to(device), lq)
        elif self.scale > 1:
            size = [self.scale * length for length in lq.shape[-2:]]
            output = F.interpolate(lq, size, mode='bicubic', antialias=True)
        else:
            output = lq
        return to_uint8(output)[0].permute(1, 2, 0).cpu().numpy()

    def _run(self, network: nn.Module, lq: torch.Tensor) -> torch.Tensor:
        height, width = lq.shape[-2:]
        padded = extended(normalized(lq, self.mean, self.std), self.multiple_of)
        try:
            output = network(padded)
        except (RuntimeError, AssertionError, ValueError, TypeError, IndexError) as error:
            from ra_plugin.builders.size_rules import explained
            raise ValueError(explained(network, lq, self.multiple_of, error, 'RestoreImage')) from error
        from ra_plugin.models.channels import check_channels
        check_channels(output, padded.shape, 'RestoreImage.network')
        output = denormalized(output, self.mean, self.std)
        expected = tuple(self.scale * size for size in padded.shape[-2:])
        if tuple(output.shape[-2:]) != expected:
            raise ValueError(
                f'RestoreImage: expected {expected[1]}x{expected[0]} from the network for an image of '
                f'{padded.shape[-1]}x{padded.shape[-2]} at scale {self.scale}, got {output.shape[-1]}x'
                f'{output.shape[-2]}. Set scale to what the network does, or multiple_of to what it needs.')
        return output[..., :self.scale * height, :self.scale * width]

    def _cut(self, restored: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """The part of the restored image that is no extension of the clean one."""
        if not all(0 <= size - wanted < self.scale for size, wanted in zip(restored.shape, shape)):
            raise ValueError(
                f'RestoreImage: the clean image is {shape[1]}x{shape[0]}, the restored one '
                f'{restored.shape[1]}x{restored.shape[0]}. Give DegradeImage and the network the same scale.')
        return restored[:shape[0], :shape[1]]

    def _device(self) -> torch.device:
        if self.device != 'auto':
            return torch.device(self.device)
        in_worker = torch.utils.data.get_worker_info() is not None
        return torch.device('cuda' if torch.cuda.is_available() and not in_worker else 'cpu')


def _build(network: Mapping[str, Any], checkpoint: str | None) -> nn.Module:
    require('basicsr', 'RestoreImage')
    from ra_plugin.builders.networks import check_color, trained_network
    built = trained_network(network, checkpoint, 'RestoreImage.network')
    check_color(built, 'RestoreImage.network', 'Take a network for color.')
    return built
