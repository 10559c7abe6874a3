"""A look at some batches before a training: how much the recognition loss has to count, and how long it will take."""
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, default_collate

from ra_plugin.builders.loaders import build_dataset
from ra_plugin.evaluation.judging import fitted
from ra_plugin.losses.recognizer_loss import RecognizerLoss
from ra_plugin.metrics.psnr_ssim import psnr, to_uint8
from ra_plugin.options import OptionError
from ra_plugin.utils.random_streams import seeded
from ra_plugin.utils.tensors import moved

_IMAGES = 32
# The weight to start from is that at which the gradient of the recognition loss, at the restored image, is this many
# times that of the squared error: on CIFAR-10 (KL) about 0.1 dB are spent so in 600 steps. A start from half of it ends
# at the same dB and gains less, since the controller has to raise the weight first.
_GRADIENTS = 1.5
_DIGITS = 3


@dataclass(frozen=True)
class Probe:
    """Findings of `probe`.

    Attributes:
        loss_weight: Weight for the recognition loss to start from.
        psnr: Mean PSNR in dB of restored images.
        psnr_without: Mean PSNR in dB of degraded ones, enlarged where they are smaller.
        step: Seconds of a training step.
        restoring: Seconds to restore an image.
        reading: Seconds in which the recognizer reads an image.
    """

    loss_weight: float
    psnr: float
    psnr_without: float
    step: float
    restoring: float
    reading: float


def probe(network: nn.Module, loss: RecognizerLoss, block: Mapping[str, Any], batch_size: int, scale: int, seed: int,
          device: torch.device) -> Probe:
    """Compare the gradients of the two losses at restored images, and take the time.

    Args:
        network: The restorer, with its weights; left in inference mode.
        loss: The recognition loss, with a weight of 1.
        block: Data set to train on.
        batch_size: Images in an iteration.
        scale: Scale of the restorer.
        seed: Seed of the images that are drawn.
        device: Device of the training.

    Raises:
        OptionError: The recognition loss does not depend on the images.
    """
    network.to(device).eval()
    parameters = [parameter.requires_grad_() for parameter in network.parameters()]
    loss.to(device)
    ratios: list[torch.Tensor] = []
    qualities: list[torch.Tensor] = []  # of restored and of degraded images
    step = restoring = reading = 0.0
    with seeded(seed, torch.device('cpu')):
        dataset = build_dataset({'name': 'train', 'phase': 'train', 'scale': scale, **block}, '--images')
        loader = DataLoader(dataset, batch_size, shuffle=True, drop_last=len(dataset) >= batch_size,
                            collate_fn=getattr(dataset, 'collate_fn', default_collate))
        for i, batch in enumerate(loader):
            start = time.perf_counter()
            lq, gt = batch['lq'].to(device), batch['gt'].to(device)
            restored = network(lq)
            restoring = (time.perf_counter() - start) / len(lq)
            at, target = restored.detach().requires_grad_(), gt if loss.needs == 'gt' else moved(batch['label'], device)
            pixel, = torch.autograd.grad(nn.functional.mse_loss(at, gt), at)
            asked = time.perf_counter()
            value = loss(at, target, batch.get('size'))  # it reads two images: the clean one, too
            reading = (time.perf_counter() - asked) / len(lq) / (1 + (loss.needs == 'gt'))
            recognition, = torch.autograd.grad(value, at)
            torch.autograd.grad(restored, parameters, pixel, allow_unused=True)
            step = time.perf_counter() - start  # of the last, which is warm
            qualities.append(torch.stack([psnr(to_uint8(images), to_uint8(gt)) for images in (
                restored.detach(), fitted(lq, gt.shape[-2:]))], 1))
            ratios += list(recognition.flatten(1).norm(dim=1) / pixel.flatten(1).norm(dim=1))
            if i and (i + 1) * batch_size >= _IMAGES:
                break
    ratio = float(torch.stack(ratios).nanmedian())
    if not 0 < ratio < float('inf'):
        raise OptionError(f'--recognizer: the loss of {loss.recognizer} has no gradient on these images '
                          f'({ratio:g} times that of the image loss), so nothing can be learned from it. Use another '
                          'recognizer, or --loss features.')
    quality, without = torch.cat(qualities).mean(0).tolist()
    return Probe(float(f'{_GRADIENTS / ratio:.{_DIGITS}g}'), quality, without, step, restoring, reading)
