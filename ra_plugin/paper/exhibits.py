"""The paper's exhibits of restorers judged side by side: tables, boundaries, images, surveys."""
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
import yaml

from ra_plugin.checkpoint import read_weights
from ra_plugin.evaluation.options import read_options
from ra_plugin.evaluation.records import OtherRecords
from ra_plugin.evaluation.run import Evaluation
from ra_plugin.evaluation.statistics.transfer import Matrix
from ra_plugin.evaluation.write_report import write_results
from ra_plugin.paper.changed_images import figure
from ra_plugin.paper.figure_page import figure_markdown, write_figure
from ra_plugin.paper.option_files import Group
from ra_plugin.paper.tables import JudgedRestorer, is_shown, paper_numbers, paper_table
from ra_plugin.results import Results
from ra_plugin.shipped.find import locate
from ra_plugin.studies.boundary.run import BoundaryOptions, run_boundary
from ra_plugin.studies.survey.report import KEY
from ra_plugin.studies.survey.run import survey
from ra_plugin.studies.survey.scores import label_choices, read_key, score_survey
from ra_plugin.studies.survey.table import label_markdown
from ra_plugin.utils.atomic import atomic_write


@dataclass(frozen=True)
class Exhibit:
    """Place and settings of evaluations; each is run once, whatever shows it.

    Attributes:
        root: Folder of ``experiments`` and ``results``; relative paths are looked up below it.
        out: Folder of all results.
        device, batch_size, command: As in an evaluation.
    """

    root: Path
    out: Path
    device: str | None
    batch_size: int
    command: str
    _judged: dict[str, tuple[Results, Mapping[str, Matrix]]] = field(default_factory=dict)

    def folder(self, group: Group) -> Path:
        """Return the folder of an evaluation's results."""
        return self.out / 'evaluations' / group.options['name']

    def judged(self, group: Group) -> tuple[Results, Mapping[str, Matrix]]:
        """Return the results of an evaluation, and condition -> the scores that they are made of."""
        name = group.options['name']
        if name not in self._judged:
            print(f'== Judging: {name}', flush=True)
            evaluation = Evaluation(self.root, group.options, self.device)
            run = partial(evaluation.run, self.folder(group), self.batch_size, command=self.command)
            try:
                self._judged[name] = run()
            except OtherRecords:
                print(f'== Judging again, as options, networks or images have changed: {name}', flush=True)
                self._judged[name] = run(restart=True)
            write_results(evaluation, self._judged[name][0], self.folder(group))
        return self._judged[name]

    def option_file(self, group: Group) -> Path:
        """Return the option file of an evaluation, for the programs that take one."""
        file = self.out / 'options' / f'evaluation_{group.options["name"]}.yml'
        atomic_write(yaml.safe_dump(dict(group.options), sort_keys=False), file)
        return file


def show_table(exhibit: Exhibit, name: str, spec: Mapping[str, Any], groups: Sequence[Group]) -> str:
    """Return a table laid out as the paper's, see `paper_table`."""
    judged = []
    for group in groups:
        results, matrices = exhibit.judged(group)
        (condition,), (matrix,) = results.conditions.values(), matrices.values()
        for restorer in group.restorers:
            facts = results.restorers[restorer.label]
            judged.append(JudgedRestorer({**asdict(restorer), 'judged_on': group.judged_on}, restorer.label,
                                         results.baseline, tuple(facts.used), facts.seeds, condition, matrix))
    return paper_table(spec, judged) + untouched(exhibit.root, spec, groups)


def untouched(root: Path, spec: Mapping[str, Any], groups: Sequence[Group]) -> str:
    """Return a sentence on the trainings with a transformer whose restoration network is the plain one."""
    same = []
    for group in groups:
        blocks = group.options['restorers']
        for restorer in group.restorers:
            block = blocks[restorer.label]
            if is_shown(spec, asdict(restorer)) and read_options(locate(block['option_file'], root)).get('network_t'):
                pairs = zip(block['checkpoint'], blocks[group.options['baseline']]['checkpoint'], strict=True)
                same += [_equal(*(read_weights(root / file, 'reproduce') for file in pair)) for pair in pairs]
    return (f'\nIn {sum(same)} of {len(same)} trainings with a transformer P is the plain network, bit for bit: scores '
            "and PSNR are of T's image.\n") if same else ''


def _equal(first: Mapping[str, torch.Tensor], second: Mapping[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def show_boundaries(exhibit: Exhibit, name: str, spec: Mapping[str, Any], groups: Sequence[Group]) -> str:
    """Return distances and maps of the plain and the first other restorer, see `run_boundary`."""
    parts = []
    for group in groups:
        names = [restorer.label for restorer in group.restorers][:2]
        parts.append(run_boundary(exhibit.root, exhibit.option_file(group), exhibit.out / name,
                                  BoundaryOptions(names=names, maps=spec['maps']), exhibit.device)[0])
    return '\n\n'.join([*parts, *paper_numbers(spec)]) + '\n'


def show_images(exhibit: Exhibit, name: str, spec: Mapping[str, Any], groups: Sequence[Group]) -> str:
    """Return images read wrong after plain restoration and right after all others, see `figure`."""
    figures = []
    for group in groups:
        evaluation = Evaluation(exhibit.root, group.options, exhibit.device)
        figures += figure(evaluation, exhibit.judged(group)[1], spec['number'])
    write_figure(figures, spec['title'], f'{exhibit.command} {name}', exhibit.out / f'{name}.html')
    return f'## {spec["title"]}\n\n{figure_markdown(figures)}'


def show_survey(exhibit: Exhibit, name: str, spec: Mapping[str, Any], groups: Sequence[Group]) -> str:
    """Write a survey for people, and return the rates by the labels."""
    parts = [f'## {spec["title"]}']
    for group in groups:
        out = exhibit.out / name
        if not (out / KEY).exists():
            names = [restorer.label for restorer in group.restorers][:2]
            survey(exhibit.root, exhibit.option_file(group), names, spec['judge'], out, spec['number'],
                   group.options['images'])
        parts.append(_by_labels(out))
    return '\n\n'.join([*parts, *paper_numbers(spec)]) + '\n'


def _by_labels(out: Path) -> str:
    """Return the rates of answers that are the label."""
    key = read_key(out / KEY)
    choices = label_choices(key)
    rates = label_markdown(score_survey(key, {'labels': choices})) if choices else 'The images have no labels in words.'
    return (f'{key["images_that_differ"]} of {key["images"]} images have different answers. {len(key["questions"])} of '
            f'them are in survey.html; `ra-plugin survey --score` reads what people answer.\n\n{rates}')


SHOW: dict[str, Callable[[Exhibit, str, Mapping[str, Any], Sequence[Group]], str]] = {
    'table': show_table, 'boundaries': show_boundaries, 'images': show_images, 'survey': show_survey}
