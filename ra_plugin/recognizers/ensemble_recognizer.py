"""Several recognizers as one: all of them in every step, or a random few at the cost of those few."""
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from ra_plugin.recognizers.base import Recognizer
from ra_plugin.recognizers.class_names import first_difference
from ra_plugin.recognizers.facts import Outputs, RecognizerInfo
from ra_plugin.recognizers.frozen.resizing import judging
from ra_plugin.recognizers.plain_network import as_recognizer
from ra_plugin.recognizers.probabilities import as_logits
from ra_plugin.recognizers.random_weights import build_frozen
from ra_plugin.registry import RECOGNIZER_REGISTRY, RecognizerBlock
from ra_plugin.utils.tensors import total
from ra_plugin.utils.text import how_many


@RECOGNIZER_REGISTRY.register
class EnsembleRecognizer(Recognizer):
    """Weighted mean of recognizers of one task and one set of classes.

    Readers of words may have different characters: each has a loss of its own for a word, and the ensemble's is their
    mean, over words that all of them can write. Their probabilities are of different things, so readers, like detectors
    and segmenters, do not vote: judge the members one by one.

    With ``sample: k`` a training step sees k members, drawn without replacement; their weights are scaled so that the
    expected loss, and the expected gradient, are those of the whole ensemble. Judging (`predict`) always asks all.

    Args:
        recognizers: Option blocks, or recognizers built before.
        weights: Positive weights, one per member; only their ratios matter. Default: equal.
        sample: Members drawn for each step. Default: all.
        seed: Seed of the draw, which has a random stream of its own.

    Raises:
        ValueError: Members of different tasks or classes, or of the same in another order, or weights and sample that
            do not fit them.
    """

    def __init__(self, recognizers: Sequence[RecognizerBlock | nn.Module], weights: Sequence[float] | None = None,
                 sample: int | None = None, seed: int = 0):
        count = len(recognizers)
        if not count:
            raise ValueError('EnsembleRecognizer: recognizers is empty. List at least one.')
        if weights is not None and (len(weights) != count or not all(0 < weight < math.inf for weight in weights)):
            raise ValueError(f'EnsembleRecognizer: weights: expected {count} positive numbers, got {list(weights)}.')
        if sample is not None and not 1 <= sample <= count:
            raise ValueError(f'EnsembleRecognizer: sample: expected 1..{count}, got {sample}.')
        members = [_member(r, f'EnsembleRecognizer.recognizers[{i}]') for i, r in enumerate(recognizers)]
        first = members[0].info
        of_words = first.task == 'text'
        for member in members[1:]:
            if member.info.task != first.task or not of_words and member.info.num_classes != first.num_classes:
                raise ValueError(
                    f'EnsembleRecognizer: {members[0]} has {how_many(first.num_classes, "class")} for {first.task}, '
                    f'{member} has {member.info.num_classes} for {member.info.task}. Members must share them.')
        single = [part for member in members for part in member.members()]
        named = [] if of_words else [part for part in single if part.info.classes]
        for member in named[1:]:
            ours, theirs = named[0].info.classes or (), member.info.classes or ()
            if (difference := first_difference(ours, theirs)) is not None:
                raise ValueError(
                    f"EnsembleRecognizer: class {difference} is '{ours[difference]}' to {named[0]} and "
                    f"'{theirs[difference]}' to {member}, so one label would mean two things. Members must have "
                    'the same classes in the same order.')
        super().__init__(nn.ModuleList(members), RecognizerInfo(
            name='+'.join(member.info.name for member in members), task=first.task,
            num_classes=first.num_classes if len({member.info.num_classes for member in members}) == 1 else 0,
            classes=_common_characters(single) if of_words else named[0].info.classes if named else None,
            differentiable=all(member.info.differentiable for member in members),
            gives_probabilities=all(member.info.gives_probabilities for member in members),
            source='; '.join(member.info.source for member in members)))
        total = sum(weights) if weights else count
        self.weights = [w / total for w in weights] if weights else [1 / count] * count
        self.sample = sample
        self.generator = torch.Generator().manual_seed(seed)

    @classmethod
    def member_blocks(cls, block: Mapping[str, Any], place: str) -> list[tuple[str, Mapping[str, Any]]]:
        return [single for i, inner in enumerate(block['recognizers'])
                for single in RECOGNIZER_REGISTRY.get(inner['type'], place).member_blocks(
                    inner, f'{place}.recognizers[{i}]')]

    @property
    def costly(self) -> bool:
        return any(member.costly for member in self.model)

    @property
    def batch_independent(self) -> bool:
        return all(member.batch_independent for member in self.model)

    @property
    def compared_output(self) -> str:
        return self.model[0].compared_output

    @property
    def smooth_loss(self) -> bool:
        return all(member.smooth_loss for member in self.model)

    @property
    def spatial_labels(self) -> bool:
        return any(member.spatial_labels for member in self.model)

    @property
    def smooths_labels(self) -> bool:
        return all(member.smooths_labels for member in self.model)

    @property
    def dtype(self) -> torch.dtype:
        """Type that holds what any member computes in; each casts the images to its own."""
        return functools.reduce(torch.promote_types, (member.dtype for member in self.model))

    def members(self) -> Sequence[Recognizer]:
        return [single for member in self.model for single in member.members()]

    def fold_batch_norm(self) -> None:
        for member in self.model:
            member.fold_batch_norm()

    def set_grad_checkpointing(self) -> None:
        for member in self.model:
            member.set_grad_checkpointing()

    def compile_network(self) -> None:
        for member in self.model:
            member.compile_network()

    def draw(self) -> Sequence[tuple[float, Recognizer]]:
        """Return ``(weight, member)`` pairs for this step, also of ensembles within; without ``sample`` the weights sum
        to 1.
        """
        count = len(self.model)
        chosen, scale = range(count), 1.0
        if self.sample is not None:
            chosen = torch.randperm(count, generator=self.generator)[:self.sample].tolist()
            scale = count / self.sample
        return [(self.weights[i] * scale * weight, drawn) for i in chosen for weight, drawn in self.model[i].draw()]

    def loss(self, images: torch.Tensor, label: Any, **kwargs) -> dict[str, torch.Tensor]:
        """Return the weighted terms of every member, as ``'<index>.<term>'``: their sum is the ensemble's loss."""
        return {f'{i}.{name}': weight * term
                for i, (weight, member) in enumerate(zip(self.weights, self.model, strict=True))
                for name, term in member.loss(images, label, **kwargs).items()}

    def check_label(self, label: Any, count: int, where: str) -> None:
        if self.info.task != 'text':
            self.model[0].check_label(label, count, where)
            return
        for member in self.model:
            member.check_label(label, count, f'{where}: {member}')

    def check_form(self, label: Any, count: int, where: str) -> None:
        self.model[0].check_form(label, count, where)

    def check_gives(self, method: str, where: str) -> None:
        for member in self.model:
            member.check_gives(method, where)

    def outputs(self, images: torch.Tensor, reference: Outputs | None = None) -> Outputs:
        """Return the outputs of every member, as ``'<index>.<name>'``."""
        outputs = {}
        for i, member in enumerate(self.model):
            own = {} if reference is None else {
                name.partition('.')[2]: value for name, value in reference.items() if name.startswith(f'{i}.')}
            for name, value in member.outputs(images, own or None).items():
                outputs[f'{i}.{name}'] = value
        return outputs

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Return the features of all members, flattened and joined: ``(N, C)``."""
        return torch.cat([member.features(images).flatten(1) for member in self.model], 1)

    @torch.no_grad()
    def predict(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return predictions in a classifier's form, from the weighted mean of the members' probabilities."""
        if not self.is_classifier:
            raise ValueError(f'{self}: only classifiers vote. Judge the members one by one.')
        with judging():
            mean = self.probabilities(images)
        scores, labels = mean.topk(min(5, self.info.num_classes))
        return {'labels': labels, 'scores': scores, 'log_probabilities': as_logits(mean)}

    def probabilities(self, images: torch.Tensor) -> torch.Tensor:
        """Return the weighted mean over the members of the probabilities of the classes, ``(N, num_classes)``."""
        return total(weight * member.probabilities(images)
                     for weight, member in zip(self.weights, self.model, strict=True))


def _common_characters(readers: Sequence[Recognizer]) -> tuple[str, ...]:
    return tuple(character for character in dict.fromkeys(readers[0].info.classes or ())
                 if all(character in (reader.info.classes or ()) for reader in readers))


def _member(recognizer: Mapping[str, Any] | nn.Module, where: str) -> Recognizer:
    if isinstance(recognizer, Recognizer):
        return recognizer
    if isinstance(recognizer, nn.Module):
        return as_recognizer(recognizer, where, None, None)
    return build_frozen(recognizer, where)
