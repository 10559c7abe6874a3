"""An anchor: a pixel loss that keeps the images of the network that takes the recognition loss near other images.

A pixel loss to the clean image is not always what an image should stay near:

- a transformer T has its own input, the image of ``net_g``. Without an anchor only recognition is left, and T loses
  the image;
- a network trained as a GAN is far from the clean images in PSNR, on purpose, and a pixel loss to them would blur it.
  It can stay near the images that it made before.
"""
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from basicsr.archs import build_network
from basicsr.losses import build_loss
from torch import nn

from ra_plugin.models.start_network import StartNetworkMixin


@dataclass(frozen=True, kw_only=True)
class AnchorOptions:
    """Keys of ``train.anchor_opt``, beside those of the loss itself, e.g. ``loss_weight``.

    Attributes:
        type: A pixel loss, e.g. ``MSELoss``, ``L1Loss`` or ``CharbonnierLoss``.
        to: Images to stay near. For the images of ``network_t``: ``output``, its own input, which is the image of
            ``network_g``; or ``gt``, the clean image. For those of ``network_g``: ``start``, the image that the network
            at the start of the training makes of the same input.
    """

    type: str
    to: Literal['output', 'gt', 'start']


class StartNetwork(nn.Module):
    """The network that the training starts from: frozen, in evaluation mode.

    Args:
        network: The network, which is changed in place.

    Shape:
        ``(N, C, h, w)`` to ``(N, C, H, W)`` of the same type, without a gradient.
    """

    autocast_to: torch.dtype | None = None  # as in recognizers

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network.eval().requires_grad_(False)

    @torch.no_grad()
    def forward(self, lq: torch.Tensor) -> torch.Tensor:
        with torch.autocast(lq.device.type, self.autocast_to, enabled=self.autocast_to is not None):
            return self.network(lq).to(lq.dtype)


class AnchorMixin(StartNetworkMixin):
    """Mixin with the loss of ``train.anchor_opt``; the class after it says on which images."""

    cri_anchor: nn.Module | None = None
    start_network: StartNetwork | None = None

    def init_training_settings(self) -> None:
        super().init_training_settings()
        block = self.opt['train'].get('anchor_opt')
        if not block:
            return
        self.cri_anchor = build_loss({key: value for key, value in block.items() if key != 'to'}).to(self.device)
        self._anchored_to: str = block['to']
        if self._anchored_to == 'start':
            self.needs_start = True
            with torch.random.fork_rng(devices=[]):  # its first weights must not change the random numbers of the run
                network = build_network(self.opt['network_g'])
            network.load_state_dict(self.validated_network().state_dict())
            self.start_network = StartNetwork(network).to(self.device)

    def anchored(self, images: torch.Tensor, loss: torch.Tensor,
                 log: Mapping[str, Any]) -> tuple[torch.Tensor, dict[str, Any]]:
        """Return the recognition loss on a network's images ``(N, C, H, W)`` and its log, both with the anchor's."""
        if self.cri_anchor is None:
            return loss, dict(log)
        value = self.cri_anchor(images, self._images_near())
        return loss + self._recog_every * value, {**log, 'l_anchor': value.detach()}

    def _images_near(self) -> torch.Tensor:
        if self.start_network is not None:
            return self.start_network(self.lq)
        return self.gt if self._anchored_to == 'gt' else self.output.detach()

    @torch.no_grad()
    def images_at_start(self) -> torch.Tensor:
        """Return what the class's own ``test()`` makes of the current batch with the network of the start."""
        assert self.start_network is not None
        name = 'net_g_ema' if hasattr(self, 'net_g_ema') else 'net_g'
        kept, restored = getattr(self, name), self.output
        try:
            setattr(self, name, self.start_network.network)
            self.test()
            return self.output
        finally:
            setattr(self, name, kept)
            self.output = restored
            self.start_network.eval()  # which test() ends by undoing

    def resume_training(self, resume_state: Mapping[str, Any]) -> None:
        super().resume_training(resume_state)
        if self.start_network is not None:  # it was built with the weights that the run goes on with
            self.load_start(self.start_network.network)
