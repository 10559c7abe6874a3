"""Validation of a recognition-aware model: in batches, with PSNR and SSIM and the scores of all recognizers.

Several processes share the batches and rank 0 collects the results, which equal those of one process bit for bit.
"""
import contextlib
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any

import torch
import torch.distributed as dist
from basicsr.metrics import calculate_metric
from basicsr.models.base_model import BaseModel
from basicsr.utils import get_root_logger, imwrite, tensor2img
from torch.utils.data import DataLoader

from ra_plugin.data.given import Given, given_by
from ra_plugin.metrics.psnr_ssim import to_uint8
from ra_plugin.metrics.task_scores import TaskScore, build_score
from ra_plugin.metrics.variety import commonest_answer, is_little
from ra_plugin.models.host import Host
from ra_plugin.models.networks import network_buffers
from ra_plugin.models.padded_batches import judge
from ra_plugin.models.validation_metrics import mean_of_known, needs_clean
from ra_plugin.recognizers import Recognizer, build_recognizer
from ra_plugin.recognizers.frozen.resizing import shared_resizes
from ra_plugin.recognizers.trainable import frozen
from ra_plugin.utils.processes import gathered
from ra_plugin.utils.progress import progress
from ra_plugin.utils.tensors import denormalized
from ra_plugin.utils.text import how_many

Metrics = dict[str, float]  # BasicSR's metrics of one image


def recognizable(images: torch.Tensor, dataset_opt: Mapping) -> torch.Tensor:
    """Convert a network's images to the input of recognizers: ``(N, 3, H, W)`` in ``[0, 1]``.

    Args:
        images: ``(N, C, H, W)``. One channel is repeated; for ``color: y``, which in BasicSR ranges from 16 (black) to
            235 (white) of 255, it is first stretched to the full range.
        dataset_opt: Option block of the data set; its normalization with ``mean`` and ``std`` is reversed.
    """
    images = denormalized(images, dataset_opt.get('mean'), dataset_opt.get('std'))
    if images.shape[1] != 1:
        return images
    if dataset_opt.get('color') == 'y':
        images = (255 * images - 16) / 219
    return images.repeat(1, 3, 1, 1)


def _value(images: Mapping[str, Any], options: Mapping, where: str) -> float:
    """Return a metric of one image.

    Raises:
        ValueError: The restored and the clean image differ in size.
    """
    try:
        return calculate_metric(images, options)
    except AssertionError as error:
        sizes = [f'{image.shape[1]}x{image.shape[0]}' for image in images.values()]
        if len(set(sizes)) == 1:
            raise
        raise ValueError(f'{where}: expected a restored image of {sizes[1]} pixels like the clean one, got {sizes[0]}. '
                         'Check scale, the network and the images of the data set.') from error


class RecogValidationMixin(Host):
    """Mixin that evaluates ``val.recognizers`` on restored images rounded to 8 bit, as a user would save them."""

    eval_recognizers: dict[str, Recognizer] = {}

    def build_eval_recognizers(self) -> None:
        """Build every block of ``val.recognizers``."""
        blocks = (self.opt.get('val') or {}).get('recognizers') or {}
        self.eval_recognizers = {name: self.build_judge(block, f'val.recognizers.{name}')
                                 for name, block in blocks.items()}
        self._warned_of: set[tuple[str, str]] = set()  # (data set, recognizer)
        self._new_scores(Given(labels=True, clean=True))  # raise now for an unknown metric or a missing package

    def build_judge(self, block: Mapping, where: str) -> Recognizer:
        """Build the recognizer of a block as in an evaluation, on the model's device."""
        return build_recognizer(frozen(block), where).to(self.device).to(memory_format=torch.channels_last)

    def _new_scores(self, given: Given) -> dict[str, TaskScore]:
        metrics = self.opt['val'].get('recognition_metrics') or {} if self.eval_recognizers else {}
        return {name: build_score(recognizer.info, metrics.get(recognizer.info.task), given.labels, given.clean)
                for name, recognizer in self.eval_recognizers.items()}

    def _scores_of(self, dataset) -> dict[str, TaskScore]:
        """Return new scores, depending on whether the data set has labels, clean images or both."""
        return self._new_scores(given_by(dataset, 'val.recognizers')) if self.eval_recognizers else {}

    def validation(self, dataloader, current_iter, tb_logger, save_img: bool = False) -> None:
        BaseModel.validation(self, dataloader, current_iter, tb_logger, save_img)  # HiFaceGANModel's would skip ours

    def nondist_validation(self, dataloader, current_iter, tb_logger, save_img: bool) -> None:
        """Validate on a data set; write results to ``self.metric_results`` and, with the best so far, to the log."""
        values, scores = self._score(dataloader, current_iter, save_img)
        self._report(values, scores, dataloader.dataset.opt['name'], current_iter, tb_logger)

    def dist_validation(self, dataloader, current_iter, tb_logger, save_img: bool) -> None:
        """Validate like `nondist_validation`, with batches shared by the processes; rank 0 has the results."""
        for buffer in network_buffers(self):  # use the statistics that rank 0 saves; parameters are equal anyway
            dist.broadcast(buffer, 0)
        batches = list(dataloader.batch_sampler)[dist.get_rank()::dist.get_world_size()]
        share = DataLoader(dataloader.dataset, batch_sampler=batches, num_workers=dataloader.num_workers,
                           collate_fn=dataloader.collate_fn, pin_memory=dataloader.pin_memory)
        values, scores = self._score(share, current_iter, save_img)
        found = list(zip(chain.from_iterable(batches), values, *(score.records()
                                                                 for score in scores.values()), strict=True))
        shares = gathered(found)
        if shares is None:
            return
        _, values, *records = zip(*sorted(chain.from_iterable(shares), key=itemgetter(0)),
                                  strict=True)  # the data set's order
        scores = self._scores_of(dataloader.dataset)
        for score, of_images in zip(scores.values(), records, strict=True):
            score.add_records(of_images)
        self._report(values, scores, dataloader.dataset.opt['name'], current_iter, tb_logger)

    def _report(self, values: Sequence[Metrics], scores: dict[str, TaskScore], dataset_name: str, current_iter,
                tb_logger) -> None:
        metrics = self.opt['val'].get('metrics') or {}
        self.metric_results = {name: self._mean([of_image[name] for of_image in values], name, dataset_name)
                               for name in metrics if not values or name in values[0]}
        self.metric_results.update(self.score_results(scores))
        self._tell_little_variety(scores, dataset_name)
        self._tell_without_answer(scores, dataset_name)
        if self.metric_results:
            self._keep_best(dataset_name, {**self.score_facts(scores), **metrics}, current_iter)
            self._log_validation_metric_values(current_iter, dataset_name, tb_logger)

    def _tell_little_variety(self, scores: Mapping[str, TaskScore], dataset_name: str) -> None:
        """Warn once per recognizer whose predictions hardly vary, and so agree whatever the restoration does."""
        for name, score in scores.items():
            entry = commonest_answer(score, self.eval_recognizers[name].info.classes)
            if entry and is_little(entry.share) and (dataset_name, name) not in self._warned_of:
                self._warned_of.add((dataset_name, name))
                get_root_logger().warning(f'{dataset_name}: {entry.sentence(name)}: agreement with it tells '
                                          f'little. {entry.remedy}')

    def _tell_without_answer(self, scores: Mapping[str, TaskScore], dataset_name: str) -> None:
        """Warn of images whose embedding has no direction, which counts as a similarity of 0."""
        for name, score in scores.items():
            for images, count in (('', score.without_answer()), ('clean ', score.without_answer(of_clean=True))):
                if count:
                    get_root_logger().warning(
                        f'{dataset_name}: the embeddings of {name} are zero or not finite for {count} of '
                        f'{how_many(len(score), images + "image")}, and count as a similarity of 0. Check its weights.')

    def _mean(self, values: Sequence[float], name: str, dataset_name: str) -> float:
        """Return the mean over the images with a value, and log the number of those without."""
        undefined = sum(math.isnan(value) for value in values)
        exact = sum(math.isinf(value) for value in values)
        if undefined:
            get_root_logger().warning(
                f'val.metrics.{name}: not defined for {undefined} of {how_many(len(values), "image")} of '
                f'{dataset_name}, e.g. because they are too small; '
                f'{"using the others" if undefined < len(values) else "no value"}.')
        if exact:
            get_root_logger().info(f'{dataset_name}: {name} is the mean of {len(values) - exact - undefined} of '
                                   f'{how_many(len(values), "image")}; {exact} {"is" if exact == 1 else "are"} '
                                   'restored exactly.')
        return mean_of_known(values)

    @staticmethod
    def score_results(scores: Mapping[str, TaskScore]) -> dict[str, float]:
        """Return the scores of all recognizers, with keys ``METRIC_RECOGNIZER``."""
        return {f'{key}_{name}': value for name, score in scores.items() for key, value in score.compute().items()}

    @staticmethod
    def score_facts(scores: Mapping[str, TaskScore]) -> dict[str, dict[str, str]]:
        """Return `TaskScore.facts` of the scores (which direction is better, ...), with keys ``METRIC_RECOGNIZER``."""
        return {f'{key}_{name}': of_score for name, score in scores.items() for key, of_score in score.facts().items()}

    def judging(self) -> contextlib.AbstractContextManager:
        """Return the context in which recognizers are evaluated."""
        return contextlib.nullcontext()

    def _score(self, dataloader, current_iter, save_img: bool) -> tuple[list[Metrics], dict[str, TaskScore]]:
        """Return BasicSR's metrics of each image, and the score of each recognizer."""
        with self.not_training(), self.judging():
            return self._score_batches(dataloader, current_iter, save_img)

    @contextlib.contextmanager
    def not_training(self) -> Iterator[None]:
        """Unset ``is_train`` within the context: if it is set, RealESRNet degrades its input."""
        training, self.is_train = self.is_train, False
        try:
            yield
        finally:
            self.is_train = training

    def _score_batches(self, dataloader, current_iter, save_img: bool) -> tuple[list[Metrics], dict[str, TaskScore]]:
        dataset, metrics = dataloader.dataset, self.opt['val'].get('metrics') or {}
        bar = self.opt['val'].get('pbar') and self.opt['rank'] == 0
        values, scores = [], self._scores_of(dataset)
        for data in progress(dataloader, f'Validation {dataset.opt["name"]}') if bar else dataloader:
            if 'gt' not in data and hasattr(self, 'gt'):
                del self.gt  # left over from another data set
            self.feed_data(data)
            self.test()
            self._judge(data, dataset.opt, scores)  # before tensor2img, which clamps its input in place
            visuals = {name: denormalized(images, dataset.opt.get('mean'), dataset.opt.get('std'))
                       for name, images in self.get_current_visuals().items()}
            for i, source in enumerate(data['lq_path']):
                height, width = data['size'][i] if 'size' in data else visuals['result'].shape[-2:]  # without padding
                images = {'img': tensor2img([visuals['result'][i, :, :height, :width]])}
                if 'gt' in visuals:
                    images['img2'] = tensor2img([visuals['gt'][i, :, :height, :width]])
                values.append({name: _value(images, options, f'val.metrics.{name}: {source}')
                               for name, options in metrics.items() if 'img2' in images or not needs_clean(options)})
                if save_img:
                    path = self._image_path(dataset, source, current_iter)
                    imwrite(images['img'], f'{path}.png')
                    if 'result_machine' in visuals:
                        imwrite(tensor2img([visuals['result_machine'][i, :, :height, :width]]), f'{path}_machine.png')
        return values, scores

    def _judge(self, data: Mapping, dataset_opt: Mapping, scores: dict[str, TaskScore]) -> None:
        """Add the predictions of all recognizers on the batch to their scores."""
        if not self.eval_recognizers:
            return
        images = self._as_saved(self.output if self.net_t is None else self.output_t, dataset_opt)
        clean = self._as_saved(self.gt, dataset_opt) if 'gt' in data else None
        label = self.label if 'label' in data else None
        with shared_resizes():
            for name, recognizer in self.eval_recognizers.items():
                judge(recognizer, images, label, data.get('size'), scores[name], clean)

    def _as_saved(self, images: torch.Tensor, dataset_opt: Mapping) -> torch.Tensor:
        """Return images as input of recognizers, rounded to 8 bit."""
        images = recognizable(images, dataset_opt)
        return to_uint8(images).to(images.dtype) / 255

    def _image_path(self, dataset, source: str, current_iter) -> str:
        """Return the path of a restored image in BasicSR's layout, without suffix."""
        folder, tag = self.opt['path']['visualization'], self.opt['val'].get('suffix') or self.opt['name']
        name = self._image_name(dataset, source)
        if self.opt['is_train']:
            return os.path.join(folder, name, f'{os.path.basename(name)}_{current_iter}')
        return os.path.join(folder, dataset.opt['name'], f'{name}_{tag}')

    def _image_name(self, dataset, source: str) -> str:
        """Return the name of an image, with its class folder if there is one."""
        root = dataset.opt.get('dataroot_gt') or dataset.opt.get('dataroot_lq')
        below = root and os.path.abspath(source).startswith(os.path.abspath(root) + os.sep)
        name = os.path.relpath(source, root) if below else os.path.normpath(source)  # or the key of an lmdb
        if os.path.isabs(name) or name.startswith(os.pardir):
            name = os.path.basename(name)
        return os.path.splitext(name)[0]

    def _keep_best(self, dataset_name: str, metrics: dict, current_iter) -> None:
        self.best_metric_results = getattr(self, 'best_metric_results', {})
        best = self.best_metric_results.setdefault(dataset_name, {})
        for name, value in self.metric_results.items():
            better = (metrics.get(name) or {}).get('better', 'higher')
            best.setdefault(name, {'better': better, 'val': float('-inf' if better == 'higher' else 'inf'), 'iter': -1})
            self._update_best_metric_result(dataset_name, name, value, current_iter)
