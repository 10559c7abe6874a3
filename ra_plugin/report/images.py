"""Pictures as ``data:`` addresses, and examples in the terms of the template."""
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ra_plugin.report.html_page import image_uri
from ra_plugin.results import NONE, Answer, Example, Results

LOSSLESS_SIDE = 128  # pixels, as in image_uri: larger pictures are photographs, and are JPEG
_LONGEST_SIDE = 1024
_THUMBNAIL = 128


@dataclass(frozen=True)
class Picture:
    """Image within the page."""

    src: str
    width: int
    height: int
    small: bool  # shown enlarged, pixel by pixel
    alt: str
    caption: str = ''
    processing: str = ''  # the key by which page.js finds it
    view: str = ''


def picture(image: np.ndarray, alt: str, caption: str = '', processing: str = '', view: str = '',
            longest: int = _LONGEST_SIDE) -> Picture:
    """Return a picture of ``(H, W, 3)`` uint8, scaled down to ``longest`` pixels where it is larger."""
    height, width = image.shape[:2]
    return Picture(image_uri(image, longest), width, height, max(height, width) <= LOSSLESS_SIDE, alt, caption,
                   processing, view)


class ExampleCards:
    """Examples in the terms of the template; names become keys, so that no name is part of the page's code."""

    def __init__(self, results: Results, examples: Sequence[Example]) -> None:
        self.examples = examples
        self.conditions = list(results.conditions)
        self.baseline = results.baseline
        self.trained = [name for name, facts in results.restorers.items() if facts.used]
        self.processings = _distinct(name for example in examples for name in example.images)
        self.rule_recognizers = _distinct(example.recognizer for example in examples if example.recognizer)
        self.drawn_by = _distinct(name for example in examples for answers in example.answers.values()
                                  for name, answer in answers.items() if answer.overlay is not None)
        self.kinds = [kind for kind in ('helped', 'hurt', 'any') if any(e.kind == kind for e in examples)]

    def cards(self) -> list[dict[str, Any]]:
        """Return a card for each example."""
        return [self._card(example) for example in self.examples]

    def hurt(self, condition: str) -> list[dict[str, Any]]:
        """Return the examples of ``condition`` that got worse: before and after, and the answers to both."""
        return [self._before_and_after(i, example) for i, example in enumerate(self.examples)
                if example.kind == 'hurt' and example.condition == condition]

    def _key(self, processing: str) -> str:
        return f'p{self.processings.index(processing)}'

    def _sides(self, example: Example) -> tuple[str, str]:
        """Return the two ways of processing that the example's rule is about, as far as it has their images."""
        names = list(example.images)
        wanted = [NONE] if example.kind == 'hurt' else [self.baseline, NONE]
        left = next((name for name in wanted if name in names), names[0])
        wanted = [example.restorer, *self.trained, *reversed(names)]
        return left, next((name for name in wanted if name in names and name != left), left)

    def _card(self, example: Example) -> dict[str, Any]:
        left, right = self._sides(example)
        about = example.recognizer
        return {
            'condition': self.conditions.index(example.condition) if example.condition in self.conditions else '',
            'kind': example.kind, 'index': example.index, 'truth': example.truth,
            'recognizer': f'r{self.rule_recognizers.index(about)}' if about else '',
            'rule': ' \u00b7 '.join(filter(None, [example.rule, about])),
            'origin': f'{example.condition}, image {example.index}' + (f': {example.name}' if example.name else ''),
            'left': self._key(left), 'right': self._key(right), 'pictures': self._pictures(example),
            'columns': [(self._key(name), name) for name in example.images if name in example.answers],
            'rows': self._rows(example),
        }

    def _pictures(self, example: Example) -> list[Picture]:
        pictures = [picture(image, f'{example.truth}, {name}', name, self._key(name))
                    for name, image in example.images.items()]
        for i, recognizer in enumerate(self.drawn_by):
            for name in example.images:
                answer = example.answers.get(name, {}).get(recognizer)
                if answer and answer.overlay is not None:
                    pictures.append(picture(answer.overlay, f'{example.truth}, {name}: {recognizer} sees {answer.text}',
                                            f'{name}, what {recognizer} sees', self._key(name), f'v{i}'))
        return pictures

    def _rows(self, example: Example) -> list[tuple[str, list[tuple[str, Answer | None]]]]:
        judged = [name for name in example.images if name in example.answers]
        recognizers = _distinct(name for processing in judged for name in example.answers[processing])
        return [(recognizer, [(self._key(name), example.answers[name].get(recognizer)) for name in judged])
                for recognizer in recognizers]

    def _before_and_after(self, number: int, example: Example) -> dict[str, Any]:
        sides = self._sides(example)
        answers = [example.answers.get(name, {}).get(example.recognizer) for name in sides]
        return {'id': number, 'truth': example.truth, 'answers': answers if all(answers) else None,
                'pictures': [picture(example.images[name], f'{example.truth}, {name}', longest=_THUMBNAIL)
                             for name in sides],
                'about': ' \u00b7 '.join(filter(None, [f'{sides[0]} \u2192 {sides[1]}', example.recognizer]))}


def _distinct(names) -> list[str]:
    return list(dict.fromkeys(names))
