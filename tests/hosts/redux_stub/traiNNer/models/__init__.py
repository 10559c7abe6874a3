"""Stand-in of the models: one that keeps the images of a batch alone, and weights its losses itself."""
import copy

import torch
from torch import nn

from traiNNer.utils.registry import LOSS_REGISTRY


class L1Loss(nn.Module):
    def __init__(self, loss_weight):
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, output, target):
        return (output - target).abs().mean()


LOSS_REGISTRY.register(L1Loss)


class SRModel:
    def __init__(self, opt):
        self.opt, self.is_train = opt, opt.is_train
        self.net_g = nn.Sequential(nn.Conv2d(3, 3 * opt.scale ** 2, 3, padding=1), nn.PixelShuffle(opt.scale))
        self.use_amp, self.amp_dtype, self.log_dict = False, torch.float16, {}
        self.optimizer_g = torch.optim.Adam(self.net_g.parameters())
        self.losses = {}
        for block in opt.train.losses:
            block = copy.deepcopy(block)
            if float(block['loss_weight']):
                kind = block.pop('type')
                self.losses['l_g_' + kind.lower().replace('loss', '')] = LOSS_REGISTRY.get(kind)(**block)

    def feed_data(self, data):
        self.lq, self.gt = data['lq'], data['gt']

    def optimize_parameters(self, current_iter, current_accum_iter, apply_gradient):
        with torch.autocast('cpu', self.amp_dtype, enabled=self.use_amp):
            self.output = self.net_g(self.lq)
            total = torch.tensor(0.0)
            for label, loss in self.losses.items():
                weighted = loss(self.output, self.gt) * abs(loss.loss_weight)
                total += weighted / self.opt.datasets['train'].accum_iter
                self.log_dict[label] = weighted.detach()
        total.backward()
        if apply_gradient:
            self.optimizer_g.step()
            self.optimizer_g.zero_grad()


def build_model(opt):
    return SRModel(copy.deepcopy(opt))
