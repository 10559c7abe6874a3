"""Measure how alike the gradients of single images are, of the image loss and of recognition losses.

The noise scale (McCandlish et al., 2018, arXiv:1812.06162) is the number of images whose mean gradient stands out of
the scatter of single ones: tr(S) / |G|^2, with the mean G and the covariance S of the gradients of the restorer's
weights. A training follows a loss whose noise scale is not far above the images of a few steps.

Example:
    python -m dev.gradient_noise small_text_SR_start_seed0 -opt options/small/ra_srvgg_x4_words_easyocr.yml \
        --loss '{type: RecogLoss}' '{type: RecogFeatureLoss, layer_weights: [FeatureExtraction.ConvNet.13]}'
"""
import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn
from torch.utils.data import DataLoader, Subset, default_collate

import ra_plugin.basicsr  # noqa: F401  (registers)
from ra_plugin.builders.loaders import build_dataset
from ra_plugin.losses import RecogConsistencyLoss, RecogFeatureLoss, RecogLoss
from ra_plugin.losses.recognizer_loss import RecognizerLoss
from ra_plugin.recognizers import build_recognizer
from ra_plugin.restoring.run_network import named_network
from ra_plugin.shipped.find import option_file
from ra_plugin.utils.yaml_file import read_yaml

BatchLoss = Callable[[torch.Tensor, Mapping[str, Any]], torch.Tensor]

_LOSSES = {loss.__name__: loss for loss in (RecogLoss, RecogConsistencyLoss, RecogFeatureLoss)}


def noise_scale(gradients: torch.Tensor) -> float:
    """Return the noise scale in images of gradients ``(n, d)``, one an image; infinite where no mean stands out.

    The squared length of the mean of n images is that of G and an n-th of the scatter, which is taken away.
    """
    exact = gradients.double()
    scatter = exact.var(0).sum().item()
    signal = exact.mean(0).square().sum().item() - scatter / len(exact)
    return scatter / signal if signal > 0 else math.inf


def gradients(network: nn.Module, loss: BatchLoss, batches: Sequence[Mapping[str, Any]]) -> torch.Tensor:
    """Return the gradient of the network's weights for each image, ``(n, d)``.

    Args:
        network: The restorer, with weights that have gradients.
        loss: Takes the restored image and its batch of one.
        batches: Of one image each, with ``lq``.
    """
    weights = list(network.parameters())
    return torch.stack([torch.cat([part.flatten() for part in torch.autograd.grad(
        loss(network(batch['lq']), batch), weights)]) for batch in batches])


def _of_batch(loss: RecognizerLoss) -> BatchLoss:
    return lambda restored, batch: loss(restored, batch['gt' if loss.needs == 'gt' else 'label'])


def main() -> None:
    """Print a line for each loss."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('network', help='training whose network the gradients are taken at, or its file')
    parser.add_argument('-opt', required=True, help='option file of a training: its data set and its recognizer')
    parser.add_argument('--loss', nargs='+', required=True, help="blocks of recognition losses, without 'recognizer'")
    parser.add_argument('--images', type=int, default=192)
    parser.add_argument('--seed', type=int, default=0, help='seed of the images that are drawn')
    args = parser.parse_args()

    opt = read_yaml(option_file(args.opt), '-opt')
    network = named_network(args.network, Path.cwd()).network.requires_grad_()
    recognizer = build_recognizer(opt['train']['recog_opt']['recognizer'], fold_batch_norm=False)
    torch.manual_seed(args.seed)  # degradations are drawn, too
    dataset = build_dataset({'phase': 'train', 'scale': opt['scale'], **opt['datasets']['train']})
    chosen = torch.randperm(len(dataset))[:args.images].tolist()
    batches = list(DataLoader(Subset(dataset, chosen), 1, collate_fn=getattr(dataset, 'collate_fn', default_collate)))

    print(f'{"loss":<80} noise scale, of {len(batches)} images')
    found = gradients(network, lambda restored, batch: nn.functional.mse_loss(restored, batch['gt']), batches)
    print(f'{"squared error":<80} {noise_scale(found):.3g}', flush=True)
    for text in args.loss:
        block = yaml.safe_load(text)
        found = gradients(network, _of_batch(_LOSSES[block.pop('type')](recognizer, **block)), batches)
        print(f'{text:<80} {noise_scale(found):.3g}', flush=True)


if __name__ == '__main__':
    main()
