"""GANFeatLoss: feature matching loss that BasicSR's HiFaceGAN uses, missing in BasicSR since 1.4.0."""
from collections.abc import Sequence
from typing import Literal

import torch
from basicsr.losses.basic_loss import CharbonnierLoss
from torch import nn

_CRITERIA = {'l1': nn.L1Loss, 'l2': nn.MSELoss, 'charbonnier': CharbonnierLoss}


class GANFeatLoss(nn.Module):
    """Distance between a discriminator's features of the restored and of the clean image.

    Summed over all layers except the last, which is the prediction, and averaged over the discriminators, as in SPADE
    (Park et al., arXiv:1903.07291). BasicSR up to 1.3.6 applied ``loss_weight`` twice; here it is applied once.

    Args:
        criterion: ``'l1'`` | ``'l2'`` | ``'charbonnier'``. Default: ``'l1'``.
        loss_weight: Factor on the loss. Default: 1.0.
        reduction: ``'mean'`` | ``'sum'``, over the values of one layer. Default: ``'mean'``.

    Shape:
        pred_fake, pred_real: one list per discriminator, with one ``(N, C, H, W)`` per layer. Returns a scalar >= 0;
        the gradient reaches only ``pred_fake``.
    """

    def __init__(self, criterion: Literal['l1', 'l2', 'charbonnier'] = 'l1', loss_weight: float = 1.0,
                 reduction: Literal['mean', 'sum'] = 'mean'):
        super().__init__()
        if criterion not in _CRITERIA:
            raise ValueError(f"GANFeatLoss: criterion: expected one of {', '.join(_CRITERIA)}; got {criterion!r}.")
        self.distance = _CRITERIA[criterion](reduction=reduction)
        self.loss_weight = loss_weight

    def forward(self, pred_fake: Sequence[Sequence[torch.Tensor]],
                pred_real: Sequence[Sequence[torch.Tensor]]) -> torch.Tensor:
        layers = [self.distance(fake, real.detach()) for fakes, reals in zip(pred_fake, pred_real, strict=True)
                  for fake, real in zip(fakes[:-1], reals[:-1], strict=False)]
        return self.loss_weight * torch.stack(layers).sum() / len(pred_fake)
