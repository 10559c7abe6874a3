"""RecogAwareModel: a mixin that adds recognition losses to any BasicSR image model class, without changing its code.

There are two modes (Liu et al., arXiv:1910.09185, section 3). Without ``network_t`` the loss is added to the pixel
loss: during the class's own training step, ``cri_pix`` is a criterion that returns the pixel loss plus the recognition
loss. With ``network_t`` the class's step is unchanged, and is followed by a step of the transformer T on the detached
output. In both an anchor may be added to the recognition loss.
"""
import copy
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from basicsr.archs import build_network
from basicsr.losses import build_loss
from basicsr.models.sr_model import SRModel
from basicsr.utils.registry import LOSS_REGISTRY, MODEL_REGISTRY
from torch import nn

from ra_plugin.data.given import no_labels
from ra_plugin.library_errors import translated
from ra_plugin.losses.batch_checks import check_clean
from ra_plugin.models.anchor import AnchorMixin
from ra_plugin.models.builder import run_ready
from ra_plugin.models.host_needs import why_not
from ra_plugin.models.labeled_pool import LabeledPoolMixin
from ra_plugin.models.own_validation import OwnValidationMixin, has_own_validation
from ra_plugin.models.recog_budget import RecogBudgetMixin
from ra_plugin.models.recog_validation import RecogValidationMixin, recognizable
from ra_plugin.models.step_log import step_log
from ra_plugin.models.trainable_recognizer import TrainableRecognizerMixin
from ra_plugin.options import OptionError
from ra_plugin.recognizers import Recognizer
from ra_plugin.recognizers.frozen.resizing import shared_resizes
from ra_plugin.recognizers.trainable import is_trainable

NO_LOSS_FOR_T = 'network_t: the transformer needs a recognition loss. Add train.recog_opt.'


def RecogAwareModel(opt: dict) -> SRModel:  # noqa: N802  (BasicSR calls the registered name like a class)
    """Build ``opt['base_model_type']`` with the mixin; registered as ``model_type: RecogAwareModel``.

    Raises:
        OptionError: The base class does not support recognition losses.
    """
    return run_ready(recog_aware(MODEL_REGISTRY.get(opt['base_model_type'])))(opt)


def recog_aware(base: type) -> type:
    """Return the class ``RecogAware<base>``.

    Raises:
        OptionError: The base class lacks what `why_not` looks for, or is for videos.
    """
    if reason := why_not(base):
        raise OptionError(f'model_type: {base.__name__} does not support recognition losses: {reason}')
    pool = (LabeledPoolMixin,) if hasattr(base, '_dequeue_and_enqueue') else ()
    own = (OwnValidationMixin,) if has_own_validation(base) else ()
    bases = (TrainableRecognizerMixin, *own, RecogBudgetMixin, RecogAwareMixin, *pool, *step_log(base), base)
    return type(f'RecogAware{base.__name__}', bases, {'host': base})


def recog_blocks(train_opt: Mapping) -> list[Mapping]:
    """Return the blocks of ``recog_opt``, which is absent, one block or a list of blocks."""
    blocks = train_opt.get('recog_opt') or []
    return [blocks] if isinstance(blocks, Mapping) else list(blocks)


def numbered(blocks: Sequence[Mapping]) -> list[tuple[str, Mapping]]:
    """Return each block of ``recog_opt`` with its place in the options."""
    places = ['train.recog_opt'] if len(blocks) == 1 else [f'train.recog_opt[{i}]' for i in range(len(blocks))]
    return list(zip(places, blocks, strict=True))


def _built_losses(blocks: Sequence[Mapping]) -> list[nn.Module]:
    """Build the losses; those that share a recognizer that learns after the one that trains it."""
    places, found = numbered(blocks), {}
    learner: Recognizer | None = None
    for place, block in sorted(places, key=lambda one: not _teaches(one[1])):
        found[place] = _built(block, place, learner)
        if _teaches(block):
            learner = found[place].recognizer
    return [found[place] for place, _ in places]


def _built(block: Mapping, where: str, learner: Recognizer | None = None) -> nn.Module:
    with translated(where):
        if learner is None or not is_trainable(block.get('recognizer')):
            return build_loss(block)
        arguments = {**block, 'recognizer': learner}  # not by build_loss, which copies what it is given
        return LOSS_REGISTRY.get(arguments.pop('type'))(**arguments)


def _teaches(block: Mapping) -> bool:
    """True for the block of a loss that trains its recognizer."""
    loss = dict(iter(LOSS_REGISTRY)).get(block.get('type'))
    return is_trainable(block.get('recognizer')) and getattr(loss, 'needs', None) == 'label'


class PixelAndRecogLoss(nn.Module):
    """Replacement of ``cri_pix`` during one training step: the pixel loss, the recognition losses and the anchor."""

    def __init__(self, pixel_loss: nn.Module | None, owner: 'RecogAwareMixin', with_ratio: bool):
        super().__init__()
        self.pixel_loss = pixel_loss
        self.with_ratio = with_ratio
        self.log: dict[str, torch.Tensor] = {}
        self.pixel_value: torch.Tensor | None = None
        self._owner = [owner]  # in a list, so that nn.Module does not register it
        self._grad_norms: dict[str, torch.Tensor] = {}

    def forward(self, output: torch.Tensor, target: torch.Tensor, **kwargs) -> torch.Tensor:
        owner = self._owner[0]
        if self.log or output is not owner.output:
            raise RuntimeError(f'{type(owner).__name__}: its step calls cri_pix more than once, or not on self.output, '
                               'so a recognition loss cannot be added.')
        for_pixel, for_recog = output, output
        if self.with_ratio:  # two views of one tensor: backward sums their gradients, and hooks see each of them
            for_pixel, for_recog = self._watched(output, 'pixel'), self._watched(output, 'recog')
        pixel = None
        if self.pixel_loss is not None:  # before the others: backward sums the gradients in reverse order
            pixel = self.pixel_loss(for_pixel, target, **kwargs)
            self.pixel_value = pixel.detach()
        recog, self.log = owner.anchored(for_pixel, *owner.recognition_loss(for_recog))
        return recog if pixel is None else pixel + recog

    def _watched(self, output: torch.Tensor, name: str) -> torch.Tensor:
        view = output.view_as(output)
        view.register_hook(lambda grad: self._grad_norms.__setitem__(name, grad.norm()))
        return view

    def grad_ratio(self) -> dict[str, torch.Tensor]:
        """Return ``{'recog_grad_ratio': |d recog| / |d (pixel + anchor)|}`` at the output; call it after backward."""
        if {'pixel', 'recog'} - self._grad_norms.keys():
            return {}
        return {'recog_grad_ratio': self._grad_norms['recog'] / self._grad_norms['pixel'].clamp_min(1e-12)}


class RecogAwareMixin(AnchorMixin, RecogValidationMixin):
    """Mixin that adds recognition losses to a model class, SRModel or the like; put it before that class in the bases.

    It reads ``train.recog_opt`` (a block or a list), ``train.recog_every``, ``train.anchor_opt``,
    ``train.log_grad_ratio``, ``network_t`` with ``train.optim_t`` and ``train.scheduler_t``, ``val.recognizers``, and
    ``path.pretrain_network_t`` with ``param_key_t`` and ``strict_load_t``.
    """

    def __init__(self, opt: dict):
        self.net_t = None
        self.cri_recog = nn.ModuleList()
        self._criterion: PixelAndRecogLoss | None = None
        self.sizes: Sequence[tuple[int, int]] | None = None
        self._is_scale_checked = False
        super().__init__(opt)
        if self.net_t is None:  # in testing; in training init_training_settings has built it
            self._build_net_t()
        self.build_eval_recognizers()

    # ------------------------------------------------------------------ set-up
    def _build_net_t(self) -> None:
        if not self.opt.get('network_t'):
            return
        with torch.random.fork_rng(devices=[]):  # T must not change the random numbers of P and its data
            net_t = build_network(self.opt['network_t'])
        self.net_t = self.model_to_device(net_t)
        self.print_network(self.net_t)
        paths = self.opt['path']
        if paths.get('pretrain_network_t'):
            self.load_network(self.net_t, paths['pretrain_network_t'], paths.get('strict_load_t', True),
                              paths.get('param_key_t', 'params'))

    def init_training_settings(self) -> None:
        train_opt = self.opt['train']
        blocks = recog_blocks(train_opt)
        self._build_net_t()
        if self.net_t is not None and not blocks:
            raise OptionError(NO_LOSS_FOR_T)
        self.cri_recog = nn.ModuleList(_built_losses(blocks)).to(self.device)
        for cri in self.cri_recog:  # the network may be untrained; the scale of gt is checked instead
            cri.check_range = False
        crops = isinstance(self, LabeledPoolMixin) and self.opt.get('high_order_degradation', True)
        for recognizer in self.labeled_recognizers() if crops else ():
            if recognizer.spatial_labels:  # boxes and masks would have to be cropped, too
                raise OptionError(f'train.recog_opt: {recognizer} needs labels of {recognizer.info.task}, but '
                                  f'{self.opt["base_model_type"]} crops its images without their labels. Use a '
                                  'classifier, or RecogConsistencyLoss.')
        alone = blocks and self.net_t is None and not train_opt.get('pixel_opt')
        if alone:  # SRModel requires a loss of its own
            train_opt['pixel_opt'] = {'type': 'L1Loss', 'loss_weight': 0.0}
        super().init_training_settings()
        if alone:
            self.cri_pix = None

    def setup_optimizers(self) -> None:
        super().setup_optimizers()
        if hasattr(self, 'optimizer_g'):
            self.optimizer_g.register_step_pre_hook(self._check_that_recognizers_were_asked)
        if self.net_t is not None:
            options = copy.deepcopy(self.opt['train'].get('optim_t') or {'type': 'Adam', 'lr': 1e-4})
            self.optimizer_t = self.get_optimizer(options.pop('type'), list(self.net_t.parameters()), **options)
            self.optimizers.append(self.optimizer_t)

    def setup_schedulers(self) -> None:
        """Set up separate schedules for T and a trainable recognizer if the options have them."""
        train_opt = self.opt['train']
        own = [(getattr(self, f'optimizer_{name}'), train_opt[f'scheduler_{name}'])
               for name in 'tr' if train_opt.get(f'scheduler_{name}')]
        if not own:
            return super().setup_schedulers()
        everything, scheduler = self.optimizers, train_opt['scheduler']
        others = [optimizer for optimizer in everything if all(optimizer is not one for one, _ in own)]
        for optimizers, options in ((others, scheduler), *(([one], options) for one, options in own)):
            self.optimizers, train_opt['scheduler'] = optimizers, copy.deepcopy(options)
            super().setup_schedulers()
        self.optimizers, train_opt['scheduler'] = everything, scheduler

    def labeled_recognizers(self) -> list[Recognizer]:
        """Return the recognizers whose loss takes labels; the others need not have the classes of the data."""
        return [cri.recognizer for cri in self.cri_recog if cri.needs == 'label']

    # ---------------------------------------------------------------- training
    def check_batch(self, data: Mapping[str, Any]) -> None:
        """Check labels while they are on the CPU, because on a GPU an invalid label ends the process.

        Raises:
            ValueError: Labels do not fit the recognizers' task, or have classes that the recognizers do not have. The
                characters of words are left to the loss: a reader that judges counts foreign ones as a miss.
        """
        label = data.get('label')
        if label is None:
            return
        images = data['lq'] if 'lq' in data else data['gt']
        first = (data.get('gt_path') or data['lq_path'])[0]
        for recognizer in self.labeled_recognizers() if self.is_train else self.eval_recognizers.values():
            recognizer.check_form(label, len(images), f'{recognizer}, {first} ff.')

    def feed_data(self, data: Mapping[str, Any]) -> None:
        label = data.get('label')
        if label is not None:
            self.check_batch(data)
            # labels of detectors stay on the CPU, which reads them box by box
            self.label = label.to(self.device, non_blocking=True) if isinstance(label, torch.Tensor) else label
        self.sizes = self._padded_sizes(data)
        super().feed_data(data)

    def _padded_sizes(self, data: Mapping) -> Sequence[tuple[int, int]] | None:
        """Return height and width of each clean image in a padded batch; None if no image is padded."""
        sizes, gt = data.get('size'), data.get('gt')
        if sizes is None or gt is None or all(tuple(size) == tuple(gt.shape[-2:]) for size in sizes):
            return None
        return sizes

    def recognition_loss(self, images: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Return the sum of the recognition losses on a network's images ``(N, C, H, W)``, and the values to log."""
        if any(cri.needs == 'label' for cri in self.cri_recog) and not hasattr(self, 'label'):
            raise OptionError(f'train.recog_opt: {no_labels("RecogLoss", "the data set")}')
        if self.sizes and isinstance(self, LabeledPoolMixin) and self.opt.get('high_order_degradation', True):
            raise OptionError(f'datasets.train: {self.opt["base_model_type"]} crops its images, so recognizers would '
                              'see the padding of a batch with several sizes. Set crop_size to at most the size of the '
                              'smallest image, or batch_size_per_gpu: 1.')
        dataset_opt = (self.opt.get('datasets') or {}).get('train') or {}
        images = recognizable(images, dataset_opt)
        clean = recognizable(self.gt, dataset_opt) if any(cri.needs == 'gt' for cri in self.cri_recog) else None
        if not self._is_scale_checked and isinstance(getattr(self, 'gt', None), torch.Tensor):
            check_clean(recognizable(self.gt, dataset_opt).detach(), 'train.recog_opt')
            self._is_scale_checked = True
        with shared_resizes():
            values = [cri(images, self.label if cri.needs == 'label' else clean, self.sizes) for cri in self.cri_recog]
        total = values[0] if len(values) == 1 else torch.stack(values).sum()
        log = {'l_recog': total.detach()}
        if len(values) > 1:
            log.update({f'l_recog_{i}': value.detach() for i, value in enumerate(values)})
        return self._recog_every * total, log

    @property
    def _recog_every(self) -> int:
        return self.opt['train'].get('recog_every') or 1

    def optimize_parameters(self, current_iter: int) -> None:
        if not self.cri_recog or current_iter % self._recog_every:
            super().optimize_parameters(current_iter)
        elif self.net_t is not None:
            super().optimize_parameters(current_iter)
            self._optimize_transformer(self.net_t)
        else:
            pixel_loss = self.cri_pix
            self._criterion = PixelAndRecogLoss(pixel_loss, self, bool(self.opt['train'].get('log_grad_ratio')))
            self.cri_pix = self._criterion
            try:
                super().optimize_parameters(current_iter)
            finally:
                self.cri_pix, self._criterion = pixel_loss, None

    def _check_that_recognizers_were_asked(self, *_) -> None:
        """Raise RuntimeError if net_g is about to step without the recognition loss; in a GAN it skips some steps."""
        if self._criterion is not None and not self._criterion.log:
            raise RuntimeError(f'{type(self).__name__}: its step does not call cri_pix, so a recognition loss cannot '
                               'be added.')

    def _optimize_transformer(self, net_t: nn.Module) -> None:
        self.optimizer_t.zero_grad()
        images = net_t(self.output.detach())
        loss, log = self.anchored(images, *self.recognition_loss(images))
        loss.backward()
        self.optimizer_t.step()
        self.log_dict.update(self.reduce_loss_dict(OrderedDict(log)))

    def reduce_loss_dict(self, loss_dict: dict) -> dict:
        """Log the pixel loss and the recognition loss separately, although the class used their sum."""
        criterion = self._criterion
        if criterion is not None and criterion.log:
            for name in ('l_pix', 'l_g_pix'):
                if name in loss_dict and criterion.pixel_value is not None:
                    loss_dict[name] = criterion.pixel_value
                elif name in loss_dict:
                    del loss_dict[name]
            loss_dict.update({**criterion.log, **criterion.grad_ratio()})
        return super().reduce_loss_dict(loss_dict)

    # ------------------------------------------------------- testing and saving
    def test(self) -> None:
        """Set ``self.output`` to P's image, for people; with a transformer also ``self.output_t``, for machines."""
        super().test()
        self.transform()

    def transform(self) -> None:
        """Compute ``self.output_t`` from ``self.output`` if there is a transformer."""
        if self.net_t is not None:
            self.net_t.eval()
            with torch.no_grad():
                self.output_t = self.net_t(self.output)
            self.net_t.train(self.opt['is_train'])

    def get_current_visuals(self) -> OrderedDict:
        visuals = super().get_current_visuals()
        if self.net_t is not None:
            visuals['result_machine'] = self.output_t.detach().cpu()
        return visuals

    def save(self, epoch: int, current_iter: int) -> None:
        if self.net_t is not None:  # before the training state, whose presence means that the networks are complete
            self.save_network(self.net_t, 'net_t', current_iter)
        super().save(epoch, current_iter)
