"""An evaluation: restorers x recognizers x data sets x degradations; resumable."""
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, default_collate

from ra_plugin.builders.given import check_given
from ra_plugin.builders.identity import without_secrets
from ra_plugin.builders.identity_pairs import check_pairs
from ra_plugin.builders.loaders import build_dataset, evenly_spaced, with_scale
from ra_plugin.builders.networks import dataset_class
from ra_plugin.builders.unread_keys import check_dataset
from ra_plugin.data.class_check import check_classes
from ra_plugin.data.detection_dataset import DetectionDataset
from ra_plugin.data.early_check import check_images
from ra_plugin.data.given import Given, given_by
from ra_plugin.data.image_dataset import ImageDataset
from ra_plugin.evaluation.judging import CLEAN_INPUT, Batch, Judging, Processing, clean, judge_all, no_processing
from ra_plugin.evaluation.options import by_name, check_conditions, conditions_of, evaluation_options
from ra_plugin.evaluation.program_flags import check_loading, device_of
from ra_plugin.evaluation.record_plan import RecordPlans, image_name, image_names, item_files
from ra_plugin.evaluation.records import ImageRecords, Records
from ra_plugin.evaluation.restored_folder import FolderOfImages
from ra_plugin.evaluation.restorers import Restorer, build_restorer, restorer_options, unmatched_recognizers
from ra_plugin.evaluation.reuse import KnownImages, Plan, Reusing, earlier_records, interleaved, shares, superseded
from ra_plugin.evaluation.shown_image_rules import Draw, rules_for
from ra_plugin.evaluation.shown_images import ShownImages
from ra_plugin.evaluation.statistics.audit import audit
from ra_plugin.evaluation.statistics.chance import against_chance
from ra_plugin.evaluation.statistics.perturbations import FLOAT, SAVED, VIEWS
from ra_plugin.evaluation.statistics.transfer import (
    JudgedProcessing,
    Matrix,
    clean_input,
    harm,
    judged_processing,
    summary,
)
from ra_plugin.evaluation.statistics.variety import variety
from ra_plugin.metrics.pyiqa_metrics import QualityMetric
from ra_plugin.metrics.task_scores import build_score, left_out
from ra_plugin.options import OptionError, suggestion
from ra_plugin.recognizers import Recognizer, build_recognizer
from ra_plugin.results import (
    CLEAN,
    NONE,
    SCHEMA,
    Condition,
    DataGiven,
    QualityFacts,
    RecognizerFacts,
    RestorerFacts,
    Results,
    to_plain,
)
from ra_plugin.utils.interruption import Interrupted, Interruption
from ra_plugin.utils.progress import progress
from ra_plugin.utils.tensors import denormalized
from ra_plugin.utils.text import how_many
from ra_plugin.version import __version__


@dataclass(frozen=True)
class PreparedCondition:
    """Data set under a degradation, with the restorers and recognizers that are for it.

    Attributes:
        name: Name of the condition.
        block: Options of the data set.
        dataset: The data set.
        chosen: Numbers of the images that are judged.
        names: Paths of these images below their folder; None where the data set does not list them.
        restorers, recognizers: Restorers and recognizers of the condition.
        given: Parts that the data set has.
    """

    name: str
    block: Mapping
    dataset: ImageDataset
    chosen: list[int]
    names: list[str] | None
    restorers: list[Restorer]
    recognizers: dict[str, Recognizer]
    given: Given

    def check_given(self, where: str, labels: bool = True) -> None:
        """Check that its data set has clean images, and labels where they are asked for.

        Raises:
            OptionError: It has not.
        """
        missing = [what for what, lacks in (('labels', labels and not self.given.labels),
                                            ('clean images', not self.given.clean)) if lacks]
        if missing:
            raise OptionError(f'{where}: needs {" and ".join(missing)}, and the data set of {self.name} gives none.')


class Evaluation:
    """Evaluation, its options checked and its parts built.

    Args:
        root: Folder of ``experiments``: relative paths in the options are looked up below it, too.
        opt: Keys as in :class:`EvaluationOptions`.
        device: Default: a GPU where there is one.

    Raises:
        OptionError: The options are invalid; nothing has been written then.
        FileNotFoundError: Weights or a folder of images are missing.
    """

    def __init__(self, root: Path, opt: Mapping[str, Any], device: str | None = None):
        self.raw = opt
        self.device = device_of(device)
        self.options, self._judged = options, _ = evaluation_options(opt, root)
        checked = {name: restorer_options(block, root, options.recognizers, f'restorers.{name}')
                   for name, block in options.restorers.items()}
        self.unmatched = unmatched_recognizers(options.restorers, root, options.recognizers)
        check_conditions(options, {
            **{f'recognizers.{name}': judged for name, judged in self._judged.items()},
            **{f'restorers.{name}': restorer.conditions for name, restorer in checked.items()}})
        self.recognizers: dict[str, Recognizer] = {
            name: build_recognizer(block, f'recognizers.{name}').to(self.device).to(memory_format=torch.channels_last)
            for name, block in options.recognizers.items()}
        for recognizer in self.recognizers.values():
            build_score(recognizer.info)  # one without classes cannot judge
        self.quality_metrics = {
            name: QualityMetric(name, block, self.device, f'quality_metrics.{name}')
            for name, block in by_name(options.quality_metrics).items()}
        self.restorers = {name: build_restorer(name, block, self.device) for name, block in checked.items()}
        self.conditions = [self._condition(name, block) for name, block in conditions_of(options)]
        self.shown: dict[str, ShownImages] = {}  # condition -> images for the page, once it has run
        self.matrices: dict[str, Matrix] = {}  # condition -> scores of all images, once it has run

    def _condition(self, name: str, block: Mapping) -> PreparedCondition:
        cls = dataset_class(block, f'datasets: {name}')
        if hasattr(cls, 'options_type'):
            check_dataset(block, f'datasets: {name}')
        check_given(block, f'datasets: {name}')
        block = with_scale(block, cls, f'datasets: {name}')
        dataset = build_dataset(block)
        given = given_by(dataset, f'datasets: {name}')
        recognizers = {judge: recognizer for judge, recognizer in self.recognizers.items()
                       if self._judged[judge] is None or name in self._judged[judge]}
        if not recognizers:
            raise OptionError(f'recognizers: expected at least one that judges {name}, got none.')
        check_classes(dataset, recognizers.values(), f'datasets: {name}')
        restorers = {restorer.name: restorer for restorer in self.restorers.values() if restorer.is_for(name)}
        baseline = self.options.compared_with
        if baseline not in (NONE, *restorers):
            raise OptionError(f"baseline: no restorer '{baseline}' for {name}.{suggestion(baseline, restorers)} "
                              f"There are {', '.join((NONE, *restorers))}")
        chosen = evenly_spaced(len(dataset), self.options.images)
        if isinstance(dataset, DetectionDataset):
            dataset.check_boxes_count(chosen, f'datasets: {name}')
        for judge, recognizer in recognizers.items():  # a metric that cannot be computed shows now
            asked = self.options.recognition_metrics.get(recognizer.info.task)
            score = build_score(recognizer.info, asked, given.labels, given.clean)
            if missing := left_out(score, asked):
                needed = 'labels' if given.clean else 'clean images'
                print(f'datasets: {name}: {", ".join(missing)} of {judge} cannot be computed without {needed}; '
                      f'{", ".join(score.names)} can.', file=sys.stderr, flush=True)
        for sentence in check_pairs(dataset, recognizers, self.options.recognition_metrics, given, f'datasets: {name}',
                                    chosen):
            print(sentence, file=sys.stderr, flush=True)
        all_names = image_names(dataset, block)
        names = None
        if all_names is not None:
            names = [all_names[number] for number in chosen]
            for process in (process for restorer in restorers.values() for process in restorer.processings):
                if isinstance(process, FolderOfImages):
                    process.prepare(names, all_names)
        return PreparedCondition(name, block, dataset, chosen, names, list(restorers.values()), recognizers, given)

    def run(self, out: Path, batch_size: int = 16, num_workers: int = 0, restart: bool = False,
            command: str = '') -> tuple[Results, dict[str, Matrix]]:
        """Judge the images without records, and compute the results.

        Args:
            out: Folder of the records; a run that was stopped goes on from there.
            batch_size: Images at a time; it changes no result, but for the rounding of sums of floats.
            num_workers: Processes that read and degrade images.
            restart: Remove earlier records.
            command: Command that the results name.

        Returns:
            The results, and condition -> the scores of all images that they are made of.

        Raises:
            Interrupted: Ctrl-C or SIGTERM; finished images are kept.
            OptionError: See `check_loading`.
        """
        check_loading(batch_size, num_workers)
        infos = {name: recognizer.info for name, recognizer in self.recognizers.items()}
        found, matrices = {}, {}
        plans = RecordPlans(self.options.recognizers, by_name(self.options.quality_metrics),
                            self.options.custom_imports or ())
        self._check_images()
        for number, condition in enumerate(self.conditions):
            judging = self.judging(condition)
            plan = self._plan(condition, judging, plans)
            records = Records(out / 'records' / str(number), plan.plain(), restart, partial(shares, now=plan))
            self.shown[condition.name] = shown = self._shown_images(condition, judging, plan, records)
            self._judge(condition, replace(judging, keeper=shown), plan, records, batch_size, num_workers)
            judged = records.read()
            records.close()
            matrices[condition.name] = Matrix(
                {key: judged_processing(judged[(*key, SAVED)], infos, self.options.recognition_metrics,
                                        **vars(condition.given))
                 for key in judging.processings}, self.options.seed)
            check_answers(matrices[condition.name], condition.name)
            shown.settle_all(matrices[condition.name].answers, matrices[condition.name].index)
            found[condition.name] = self._results(condition, judging, judged, matrices[condition.name], infos)
        self.matrices = matrices
        return self._all_results(command, infos, matrices, found), matrices

    def _all_results(self, command: str, infos: Mapping, matrices: Mapping[str, Matrix],
                     conditions: Mapping[str, Condition]) -> Results:
        judges = self.recognizers
        return Results(
            schema=SCHEMA, name=self.options.name, command=command, seed=self.options.seed,
            baseline=self.options.compared_with, conditions=conditions,
            versions={'ra_plugin': __version__, 'python': platform.python_version(), 'torch': torch.__version__},
            options=to_plain(without_secrets(self.raw)),
            recognizers={name: RecognizerFacts(info.name, info.task, info.num_classes, info.source,
                                               judges[name].cost if judges[name].costly else None)
                         for name, info in infos.items()},
            quality_metrics={name: QualityFacts(metric.better, metric.source)
                             for name, metric in self.quality_metrics.items()},
            recognition_metrics={metric: facts for matrix in matrices.values()
                                 for metric, facts in matrix.facts().items()},
            restorers={name: RestorerFacts(len(restorer.processings), list(restorer.options.used or ()),
                                           restorer.options.method or name, self.unmatched.get(name))
                       for name, restorer in self.restorers.items()})

    def judging(self, condition: PreparedCondition) -> Judging:
        """Return the ways of processing and the recognizers of a condition."""
        processings: dict[tuple[str, int], Processing] = {(CLEAN, 0): clean} if condition.given.clean else {}
        processings[NONE, 0] = no_processing
        for restorer in condition.restorers:
            processings.update({(restorer.name, seed): process for seed, process in enumerate(restorer.processings)})
        has_gains = condition.given.clean and condition.restorers  # without clean images no share of their gain
        count = self.options.audit if has_gains else 0
        audited = [condition.chosen[place] for place in evenly_spaced(len(condition.chosen), count)]
        return Judging(processings=processings, recognizers=condition.recognizers,
                       metrics=self.options.recognition_metrics, baseline=self.options.compared_with,
                       audited=frozenset(audited),
                       networks=[restorer.name for restorer in condition.restorers if restorer.is_network],
                       quality_metrics=self.quality_metrics)

    def _check_images(self) -> None:
        """Find files that cannot be read before hours of judging, in every data set and folder of restored images."""
        for condition in self.conditions:
            restored = [process.file(name) for restorer in condition.restorers for process in restorer.processings
                        if isinstance(process, FolderOfImages) for name in condition.names or ()]
            check_images(condition.dataset, condition.chosen, item_files, restored)

    def _judge(self, condition: PreparedCondition, judging: Judging, plan: Plan, records: Records, batch_size: int,
               num_workers: int) -> None:
        first, total = records.done(), len(condition.chosen)
        if first == total:
            return
        if first:
            self._draw_again(condition, records)
        reusing = Reusing(judging, plan, earlier_records(records.earlier, plan))
        left = condition.chosen[first:]
        known = sum(map(reusing.is_known, left)) if reusing.earlier else 0
        if reusing.earlier:
            print(f'{condition.name}: goes on with earlier records: {known} of '
                  f'{how_many(len(left), "image")} {"is" if known == 1 else "are"} known, the others are judged in '
                  'what has changed.', flush=True)
        with Interruption() as interruption, \
                progress(desc=condition.name, total=total, unit='image', initial=first) as bar:
            def load(numbers: Sequence[int]) -> Iterator[list[Batch]]:
                return self.batches(condition, numbers, batch_size, num_workers) if numbers else iter(())

            def shown() -> Iterator[Sequence[Batch | KnownImages]]:
                for batches in interleaved(left, reusing.is_known, load):
                    yield batches
                    bar.update(sum(len(batch.index) for batch in batches))

            try:
                with interruption.at_once():
                    judge_all(shown(), reusing, records, first, judging.keeper)
            except Interrupted:
                raise Interrupted(interruption.number,
                                  f' at image {records.done()} of {total} of {condition.name}') from None
        for folder in superseded(records.earlier, plan):
            records.forget(folder)

    def _draw_again(self, condition: PreparedCondition, records: Records) -> None:
        """Draw the images to show from the records of a run that was stopped."""
        infos, judged = {name: judge.info for name, judge in condition.recognizers.items()}, records.read()
        scores = {name: judged_processing(part, infos, self.options.recognition_metrics, **vars(condition.given)).scores
                  for (name, seed, view), part in judged.items() if seed == 0 and view == SAVED}
        self.shown[condition.name].settle_all(lambda name, judge, metric: scores[name][judge].per_image()[metric],
                                              judged[NONE, 0, SAVED].index)

    def _shown_images(self, condition: PreparedCondition, judging: Judging, plan: Plan, records: Records
                      ) -> ShownImages:
        rules = rules_for(condition.restorers, condition.recognizers, self.options.recognition_metrics, condition.given,
                          self.options.compared_with)
        return ShownImages(Draw(rules, condition.chosen, self.options.seed), judging, plan,
                           condition.given, getattr(condition.dataset, 'classes', None), records.folder,
                           records.earlier)

    def batches(self, condition: PreparedCondition, numbers: Sequence[int], batch_size: int = 16,
                num_workers: int = 0) -> Iterator[list[Batch]]:
        """Yield the images of a condition, ``batch_size`` at a time, as batches of one size each."""
        for items in DataLoader(_Numbered(condition.dataset), batch_size, sampler=numbers, num_workers=num_workers,
                                collate_fn=list):
            yield same_size_batches(items, condition, self.device)

    def _plan(self, condition: PreparedCondition, judging: Judging, plans: RecordPlans) -> Plan:
        """Return all that the records depend on."""
        return plans.plan(judging, condition.restorers, condition.dataset, condition.block, condition.chosen,
                          condition.names)

    def _results(self, condition: PreparedCondition, judging: Judging, judged: Mapping[tuple, ImageRecords],
                 matrix: Matrix, infos: Mapping) -> Condition:
        metrics, seed, baseline = self.options.recognition_metrics, self.options.seed, self.options.compared_with

        def scores(name: str, number: int = 0, view: str = SAVED, index: np.ndarray | None = None) -> JudgedProcessing:
            return judged_processing(judged[name, number, view], infos, metrics, index, **vars(condition.given))

        found = replace(summary(matrix, baseline, DataGiven(**vars(condition.given))),
                        chance=against_chance(matrix), variety=variety(matrix, infos))
        labels = matrix.labels()
        if labels is not None:
            found = replace(found, harm=harm(matrix, getattr(condition.dataset, 'classes', None), labels))
        audited_by = {name: metric for name, metric in matrix.gain_metrics().items()
                      if not condition.recognizers[name].costly}
        if judging.audited and audited_by:
            index = np.array(sorted(judging.audited))
            audited = [(name, number) for name, number, view in judged if view == FLOAT]
            views = {view: {key: scores(*key, view, index) for key in audited} for view in (SAVED, FLOAT, *VIEWS)}
            used = {restorer.name: restorer.options.used or () for restorer in condition.restorers}
            found = replace(found, audit=audit(views, baseline, used, audited_by, seed))
            if judging.networks:
                found = replace(found, clean_input=clean_input(
                    {key: scores(*key, CLEAN_INPUT) for key in audited if key[0] in judging.networks},
                    scores(CLEAN, index=index), seed))
        return found


def check_answers(matrix: Matrix, condition: str) -> None:
    """Check that recognizers answer to an image or more.

    Raises:
        OptionError: All embeddings of one, of whatever images, are zero or not finite.
    """
    counts = [matrix.without_answer(name) for name in matrix.names]
    for recognizer in counts[0]:
        if all(count.get(recognizer) == matrix.n for count in counts):
            raise OptionError(f'recognizers.{recognizer}: its embeddings of all {matrix.n} images of {condition} are '
                              'zero or not finite, whatever the processing. Check its weights, mean and std.')


class _Numbered(Dataset):
    """Data set whose items have their number."""

    def __init__(self, dataset: ImageDataset):
        self.dataset = dataset

    def __getitem__(self, index: int) -> tuple[int, dict]:
        return index, self.dataset[index]


def same_size_batches(items: Sequence[tuple[int, dict]], condition: PreparedCondition,
                      device: torch.device) -> list[Batch]:
    """Return numbered items as batches of images of one size each."""
    groups: dict[tuple, list[tuple[int, dict]]] = {}
    for number, item in items:
        groups.setdefault((item['lq'].shape, item['gt'].shape if 'gt' in item else None), []).append((number, item))
    collate = getattr(condition.dataset, 'collate_fn', default_collate)

    def unnormalized(images: torch.Tensor) -> torch.Tensor:
        return denormalized(images.to(device), condition.block.get('mean'), condition.block.get('std'))

    batches = []
    for group in groups.values():
        batch = collate([item for _, item in group])
        label, gt, kind = batch.get('label'), batch.get('gt'), 'gt' if 'gt_path' in batch else 'lq'
        batches.append(Batch(unnormalized(batch['lq']), None if gt is None else unnormalized(gt),
                             label.to(device) if isinstance(label, torch.Tensor) else label,
                             [number for number, _ in group],
                             [image_name(item[f'{kind}_path'], condition.block, kind) for _, item in group],
                             condition.block.get('scale') or 1))
    return batches
