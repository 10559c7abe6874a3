"""Transform that restores images with a network, for training or testing detectors and segmenters on them."""
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ra_plugin.archs import SpandrelNetwork
from ra_plugin.metrics.psnr_ssim import to_uint8
from ra_plugin.mm.loaded_image import get_rgb, put_rgb
from ra_plugin.options import OptionError, check_arguments
from ra_plugin.utils.optional import require
from ra_plugin.utils.tensors import denormalized, extended, normalized


class RestoreImage:
    """Restoration of the loaded image by a network, at full resolution and rounded to 8 bit.

    Put it directly after ``LoadImageFromFile``, or after ``DegradeImage`` if clean images are degraded first. The image
    to which the annotations refer decides at which size boxes and masks have to be predicted:

    * Clean images degraded by ``DegradeImage``: the annotations refer to the clean image, whose size the restored image
      has. No setting is needed.
    * Degraded files with annotations of their clean versions: the restored image has that size. No setting is needed.
    * Degraded files with annotations of their own, and a network that enlarges: with ``keep_ori_shape=True`` masks are
      predicted at the size of the file, and with ``ScaleToOriShape`` after ``Resize`` boxes, too. Only for testing:
      in training, annotations would have to be enlarged with the image.

    Args:
        network: Block like ``network_g`` in an option file, e.g. ``dict(type='SRResNet', upscale=4)``, of any
            architecture in BasicSR's registry. Default: None, bicubic interpolation, as a baseline without restoration.
        checkpoint: BasicSR's ``.pth`` (``params_ema`` first, then ``params``) or safetensors; all keys have to match.
            Default: None, for a network without weights.
        scale: Upscaling factor of the network, checked on each image. Default: ``upscale`` or ``scale`` of the block,
            or that of the network in the file of a `SpandrelNetwork`, otherwise 1.
        keep_ori_shape: Predict for the loaded image instead of the restored one. Default: False.
        multiple_of: Divisor of the heights and widths that the network supports: images are padded by reflection, and
            the result is cropped. Default: 1.
        mean, std: Normalization of the network's input and output, for RGB on the ``[0, 1]`` scale. Default: None,
            images in ``[0, 1]``.
        device: ``'auto'``, ``'cpu'``, ``'cuda'``, ...; ``'auto'`` is the GPU with ``num_workers=0`` in the data loader,
            otherwise the CPU, because a forked worker cannot use the GPU of its parent. Default: ``'auto'``.

    Shape:
        BGR ``(h, w, 3)`` in ``[0, 255]``, uint8 or float32, to BGR uint8 ``(scale * h, scale * w, 3)``, or to the size
        of the clean image before ``DegradeImage``.

    Raises:
        OptionError: An argument is invalid, or there is no such architecture.
        ValueError: The checkpoint does not fit, or, for an image, the scale is wrong.
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
        if checkpoint and not network:
            raise OptionError("RestoreImage: a checkpoint needs its network, e.g. network=dict(type='SRResNet').")
        self.network = _build(network, checkpoint) if network else None
        of_file = self.network.scale if isinstance(self.network, SpandrelNetwork) else 1
        self.scale = scale if scale is not None else block.get('upscale', block.get('scale', of_file))
        for key, value in (('scale', self.scale), ('multiple_of', multiple_of)):
            if value < 1:
                raise OptionError(f'RestoreImage.{key}: expected 1 or more, got {value}.')
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
                f'{output.shape[-2]}. Set scale to the factor of the network, or multiple_of to the divisor it needs.')
        return output[..., :self.scale * height, :self.scale * width]

    def _cut(self, restored: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """Return the restored image without the padding of the clean one."""
        if not all(0 <= size - wanted < self.scale for size, wanted in zip(restored.shape, shape, strict=False)):
            raise ValueError(
                f'RestoreImage: expected the size of the clean image, {shape[1]}x{shape[0]}, got '
                f'{restored.shape[1]}x{restored.shape[0]}. Use the same scale in DegradeImage and the network.')
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
    check_color(built, 'RestoreImage.network', 'Use a network for color images.')
    return built
