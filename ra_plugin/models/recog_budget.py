"""A budget in dB for the recognition loss: its weight follows what it costs, and the last network lands on the budget.

How much PSNR a weight costs depends on the network, the recognizer and the data, so it is measured while training: on
clean images that are not trained on, against the network that the training starts from. Two parts hold the budget:

- a controller. Where less than the budget is used the weight grows, where more it shrinks: integral control of the
  weight's logarithm, since the cost grows almost in proportion to the weight;
- a landing. A few candidates ``start + share * (trained - start)`` are measured at the end, and the one that uses the
  budget is kept. It corrects a few per cent alone: a smaller weight is the better way to spend less.
"""
import copy
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, cast

import torch
from torch.utils.data import DataLoader, Subset

from ra_plugin.metrics.psnr_ssim import psnr, to_uint8
from ra_plugin.models.anchor import AnchorMixin
from ra_plugin.models.validation_metrics import mean_of_known
from ra_plugin.option_types import Positive
from ra_plugin.options import Limits, OptionError, build_block
from ra_plugin.utils.tensors import denormalized

MEASUREMENTS = 24  # of a training, by default
_RATE = 0.35  # of the controller: the cost lags behind the weight, by the average and by the steps that it takes
_MOST = 0.7  # of one change of the weight's logarithm
_RANGE = 100.0  # the weight ends within this factor of the given one: where restoration gains, nothing else bounds it
_SETTLING = 4  # measurements before the first change: Adam's first steps move a trained network away, and it comes back
_FARTHEST = 1.25  # share of the way from the start that landing may go to; beyond, networks are no longer alike
_HALVINGS = 10
_HALVINGS = 10
LANDING = _HALVINGS + 5  # measurements at the end, at most


@dataclass(frozen=True, kw_only=True)
class BudgetOptions:
    """Keys of ``train.recog_budget``.

    Attributes:
        max_psnr_drop: Budget in dB: the mean PSNR, of 8-bit images, that the trained network may lose against the one
            that the training starts from. With ``anchor_opt: {to: start}`` the change of an image counts, whatever it
            does to PSNR: as many dB as a change of that size costs which has nothing to do with the image's error.
        dataset: Key in ``datasets`` of the images that PSNR is measured on, e.g. ``val``. Do not report results on
            them: they have been used for choosing. Default: the first that is not ``train``.
        images: Number of images to measure on, spread over the data set. Default: 200, or all of fewer.
        every: Number of iterations between two measurements. Default: a 24th of ``total_iter``.
    """

    max_psnr_drop: Annotated[float, Limits(above=0)]
    dataset: str | None = None
    images: Positive = 200
    every: Positive | None = None

    def phase_in(self, datasets: Iterable[str]) -> str:
        """Return the key of the data set that PSNR is measured on, of those in ``datasets``."""
        return self.dataset or min(phase for phase in datasets if phase != 'train')


class BudgetImages:
    """The images that PSNR is measured on: some of a validation set, in its batches.

    Args:
        loader: Loader of the whole validation set.
        number: Number of images, spread over it.
        every: Number of iterations between two measurements.
    """

    def __init__(self, loader: Any, number: int, every: int):
        self.opt: Mapping[str, Any] = loader.dataset.opt
        self.every = every
        total = len(loader.dataset)
        places = [i * total // number for i in range(number)] if number < total else range(total)
        self.loader = DataLoader(Subset(loader.dataset, places), loader.batch_size, num_workers=loader.num_workers,
                                 collate_fn=loader.collate_fn, pin_memory=loader.pin_memory)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.loader)

    def __len__(self) -> int:
        return len(cast(Subset, self.loader.dataset))

    @classmethod
    def of(cls, opt: Mapping[str, Any], val_loaders: Sequence[Any]) -> 'BudgetImages':
        """Return those of an option file with a budget, from the loaders of its validation sets in their order."""
        options = build_block(BudgetOptions, opt['train']['recog_budget'], 'train.recog_budget')
        phases = sorted(phase for phase in opt['datasets'] if phase != 'train')
        every = options.every or max(1, int(opt['train']['total_iter']) // MEASUREMENTS)
        return cls(val_loaders[phases.index(options.phase_in(phases))], options.images, every)


class Budget:
    """The controller: what has been measured, and the factor of the recognition loss that follows from it.

    Args:
        max_psnr_drop: Budget in dB.
    """

    def __init__(self, max_psnr_drop: float):
        self.max_psnr_drop = max_psnr_drop
        self.factor = 1.0
        self.psnr_at_start = math.nan
        self.measured = 0

    @property
    def is_at_limit(self) -> bool:
        return self.factor in (_RANGE, 1 / _RANGE)

    def add(self, value: float) -> float:
        """Take a measured PSNR in dB, change the factor, and return the drop since the start in dB."""
        drop = self.psnr_at_start - value
        self.measured += 1
        if self.measured >= _SETTLING:
            change = _RATE * (1 - drop / self.max_psnr_drop)
            self.factor *= math.exp(max(-_MOST, min(_MOST, change)))
            self.factor = max(1 / _RANGE, min(_RANGE, self.factor))
        return drop

    def state_dict(self) -> dict[str, float]:
        """Return what a training that is resumed needs to go on exactly."""
        return {'factor': self.factor, 'psnr_at_start': self.psnr_at_start, 'measured': self.measured}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Go on from `state_dict`."""
        self.factor, self.psnr_at_start = state['factor'], state['psnr_at_start']
        self.measured = int(state['measured'])


def landing_share(psnr_of: Callable[[float], float], least: float) -> float:
    """Return the largest share of the way, at most 1.25, up to which PSNR stays at ``least`` dB or above.

    Args:
        psnr_of: PSNR in dB by share, which falls as the share grows.
        least: PSNR to end at.
    """
    low, high = 0.0, _FARTHEST
    if psnr_of(high) >= least:
        return high if psnr_of(1.0) < psnr_of(0.0) else 1.0  # what costs nothing is taken as it is
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if psnr_of(middle) >= least else (low, middle)
    return low


class RecogBudgetMixin(AnchorMixin):
    """Mixin that keeps the recognition loss within ``train.recog_budget``; put it before `RecogAwareMixin`."""

    budget: Budget | None = None

    def init_training_settings(self) -> None:
        block = self.opt['train'].get('recog_budget')
        if block:
            self.budget = Budget(block['max_psnr_drop'])
            self.needs_start = True
        super().init_training_settings()

    def recognition_loss(self, images: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        total, log = super().recognition_loss(images)
        if self.budget is None:
            return total, log
        factor = self.budget.factor
        return factor * total, {**log, 'recog_factor': torch.tensor(factor, device=total.device)}

    def start_budget(self, images: BudgetImages) -> None:
        """Measure the network that the training starts from."""
        assert self.budget is not None
        self.budget.psnr_at_start = value = self._psnr(images)
        logging.getLogger('basicsr').info(f'recog_budget: {value:.4f} dB at the start; {self.budget.max_psnr_drop:g} '
                                          f'dB may be lost on {len(images)} images of {images.opt["name"]}.')

    def hold_budget(self, images: BudgetImages) -> None:
        """Measure the network, and change the weight of the recognition loss."""
        assert self.budget is not None
        drop = self.budget.add(self._psnr(images))
        logging.getLogger('basicsr').info(f'recog_budget: {drop:+.4f} dB lost; the loss counts '
                                          f'{self.budget.factor:.4g} times its weight.')

    def land_on_budget(self, images: BudgetImages) -> None:
        """Replace the network, and its average, by the one on the way from the start that uses the budget."""
        assert self.budget is not None
        network = self.validated_network()
        trained = copy.deepcopy(network.state_dict())
        self.load_start(network)
        start = copy.deepcopy(network.state_dict())

        def go_to(share: float) -> float:
            network.load_state_dict(between(start, trained, share))
            return self._psnr(images)

        share = landing_share(go_to, self.budget.psnr_at_start - self.budget.max_psnr_drop)
        value = go_to(share)
        self.get_bare_model(self.net_g).load_state_dict(network.state_dict())
        logging.getLogger('basicsr').info(
            f'recog_budget: {self.budget.psnr_at_start - value:+.4f} dB lost at {share:.3f} of the way from the start, '
            'which is the last network.')
        if self.budget.is_at_limit:
            logging.getLogger('basicsr').warning(
                f'recog_budget: the recognition loss counted {self.budget.factor:g} times its weight at the end, which '
                'is as far as the budget changes it. Train longer, or begin with another loss_weight of recog_opt.')

    @torch.no_grad()
    def _psnr(self, images: BudgetImages) -> float:
        """Return the mean PSNR in dB of the restored images of a data set, as they would be saved."""
        values, mean, std = [], images.opt.get('mean'), images.opt.get('std')
        with self.not_training():
            for data in images:
                self.feed_data(data)
                self.test()
                shown = [self.output, self.gt, *([] if self.start_network is None else [self.images_at_start()])]
                shown = [to_uint8(denormalized(batch, mean, std)) for batch in shown]
                sizes = data.get('size') or [shown[1].shape[-2:]] * len(shown[1])
                values += [_psnr_of(*(image[..., :height, :width] for image in images))
                           for *images, (height, width) in zip(*shown, sizes, strict=True)]
        value = mean_of_known(values)
        if not math.isfinite(value):
            raise OptionError(f'train.recog_budget: no image of {images.opt["name"]} has a PSNR. Choose '
                              'another data set.')
        return value


def _psnr_of(restored: torch.Tensor, clean: torch.Tensor, at_start: torch.Tensor | None = None) -> float:
    """Return the PSNR in dB of an 8-bit image; with the image at the start, that image's PSNR, and its change's cost.

    The squared error of the first adds to the squared change as if the two were independent. So nothing is gained by a
    change that makes a sharp image smoother.
    """
    if at_start is None:
        return psnr(restored, clean).item()
    error = sum(torch.mean((a.double() - b.double()) ** 2).item() for a, b in ((at_start, clean), (restored, at_start)))
    return 10 * math.log10(255 ** 2 / error) if error else math.inf


def between(start: Mapping[str, torch.Tensor], end: Mapping[str, torch.Tensor],
            share: float) -> dict[str, torch.Tensor]:
    """Return ``start + share * (end - start)`` of two state dicts; of whole numbers, those of ``end``."""
    return {name: start[name].lerp(value, share) if value.is_floating_point() else value
            for name, value in end.items()}
