"""Check of image sizes that the networks of a training do not support, with a message that names a supported size.

A network with windows or strides raises various errors in its layers for other sizes. Since validation comes late, its
first image is tried before training.
"""
import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from basicsr.models.sr_model import SRModel
from torch import nn
from torch.utils.data import DataLoader

from ra_plugin.builders.size_rules import SIZE_ERRORS, multiple_that_works, not_taken
from ra_plugin.data.given import untouched
from ra_plugin.data.image_dataset import dataset_of
from ra_plugin.models.stock import owner_of
from ra_plugin.options import OptionError
from ra_plugin.utils.random_streams import kept_random_streams

_LARGE = 128  # side in pixels; for larger images a crop is tried first
_MODULUS = 64  # sides of the crop have the same remainder for it
_TO_TRAIN = 'crop_size (of BasicSR\'s data sets: gt_size)'
_TO_VALIDATE = ('crop_size, or a model_type whose class pads them in its validation, as SwinIRModel does to '
                'network_g.window_size')


def check_validation_sizes(model: Any, loaders: Iterable[DataLoader]) -> None:
    """Check that the networks support the size of the first image of each validation set.

    Model classes with their own inference, e.g. in tiles or with padding, are not checked.

    Raises:
        OptionError: A network does not support it; the message has the data set and a divisor of supported sizes.
    """
    if not all(owner_of(type(model), name) is SRModel for name in ('test', 'nondist_validation')):
        return
    for loader in loaders:
        with kept_random_streams():
            item = untouched(dataset_of(loader))[0]
            images = item.get('lq') if isinstance(item, dict) else None
            if not isinstance(images, torch.Tensor) or images.dim() != 3:
                continue
            images = images[None].to(model.device)
            part = images[..., :_smaller(images.shape[-2]), :_smaller(images.shape[-1])]
            if _refusal(model, part, _TO_VALIDATE) and (refusal := _refusal(model, images, _TO_VALIDATE)):
                raise OptionError(f'datasets: {dataset_of(loader).opt["name"]}: {refusal}')


@contextlib.contextmanager
def sizes_told(model: Any, dataset_opt: Mapping[str, Any]) -> Iterator[None]:
    """Convert errors of a network for an unsupported image size, within the block, into one line.

    Raises:
        OptionError: See `check_validation_sizes`.
    """
    try:
        yield
    except (torch.OutOfMemoryError, ValueError):
        raise
    except SIZE_ERRORS as error:
        images = getattr(model, 'lq', None)
        remedy = _TO_TRAIN if dataset_opt.get('phase') == 'train' else _TO_VALIDATE
        refusal = _refusal(model, images, remedy) if isinstance(images, torch.Tensor) and images.dim() == 4 else None
        if refusal is None:
            raise
        raise OptionError(f'datasets: {dataset_opt.get("name")}: {refusal}') from error


@torch.no_grad()
def _refusal(model: Any, images: torch.Tensor, remedy: str) -> str | None:
    """Return a message with the network that does not support this size and the remedy; None if all do."""
    images = images[:1]
    for key, name in (('net_g_ema' if hasattr(model, 'net_g_ema') else 'net_g', 'network_g'), ('net_t', 'network_t')):
        network = getattr(model, key, None)
        if isinstance(network, nn.Module):
            with _in_inference_mode(model.get_bare_model(network)) as ask:
                try:
                    images = ask(images)
                except torch.OutOfMemoryError:
                    return None
                except SIZE_ERRORS as error:
                    number = multiple_that_works(ask, images)
                    takes = f'It needs sides divisible by {number}: set' if number else (
                        'Check its options; if it needs certain sizes, set')
                    return f'{name}: {not_taken(images, error)} {takes} {remedy}.'
    return None


@contextlib.contextmanager
def _in_inference_mode(network: nn.Module) -> Iterator[Callable[[torch.Tensor], torch.Tensor]]:
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield network
    finally:
        for module, mode in modes:
            module.training = mode


def _smaller(side: int) -> int:
    return side if side <= _LARGE else _MODULUS + side % _MODULUS
