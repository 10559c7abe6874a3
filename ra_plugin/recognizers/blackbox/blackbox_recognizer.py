"""A recognizer that gives answers and no gradient: a cloud service, or any program that reads an image."""
import math
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import torch
from torch import nn

from ra_plugin.option_types import CacheFolder, ClassNames
from ra_plugin.recognizers.base import Recognizer
from ra_plugin.recognizers.blackbox.answer_format import Answer, read_answer
from ra_plugin.recognizers.blackbox.client import BlackBoxClient
from ra_plugin.recognizers.blackbox.source import Command, Endpoint
from ra_plugin.recognizers.class_names import casefolded, read_classes
from ra_plugin.recognizers.classification import TOP_K, check_class_ids
from ra_plugin.recognizers.facts import Outputs, RecognizerInfo
from ra_plugin.registry import RECOGNIZER_REGISTRY


@RECOGNIZER_REGISTRY.register
class BlackBoxRecognizer(Recognizer):
    """A classifier behind a command or an HTTP endpoint, which receives each image as an 8-bit RGB PNG.

    It can judge, but not serve as a loss. Each image is asked about once: answers are kept, so that a run that was
    stopped, by a limit or by accident, goes on where it was.

    Args:
        classes: Class names in the order of the ids, as a list or a text file with one name per line, with which the
            answers are compared regardless of case; or the number of classes, where the answers are ids.
        cache: Folder for the answers. They are kept by command, or by address and headers: use another folder once the
            model behind it changes.
        command: Program and arguments; ``'{image}'`` becomes the name of a PNG file. Its standard output is JSON.
        url: Address that the PNG is posted to; answers with JSON. Redirections are not followed.
        headers: Headers for ``url``; ``$NAME`` in a value is the environment variable NAME, so that no key need be
            written into an option file.
        answer: Place of the labels in the JSON: keys and indexes with dots between them, ``responses.0.labels``.
            Default: the JSON itself, or what it has under ``labels``. They are a list of labels or of objects.
        label_key, score_key: Keys of label and score in an object.
        name: Name in tables. Default: the host, or the program.
        requests_per_minute: Maximum number of requests per minute. Default: no limit.
        retries: Further requests for an image where there is no connection, or where the answer is 429 or 5xx, after
            1, 2, 4 ... seconds, or when the server says.
        timeout: Seconds for one answer.
        price_per_request: Price of one request, for `cost`, in any currency.
        max_requests: Budget of all runs with this cache together, failed requests included; a request that would exceed
            it is not made.

    Raises:
        ValueError: Options that do not fit together, or are out of range.
    """

    costly = True
    has_own_words = True
    options_of_asking = frozenset(('cache', 'requests_per_minute', 'retries', 'timeout', 'price_per_request',
                                   'max_requests'))
    options_of_name = ('name', 'url', 'command')

    def __init__(self, classes: ClassNames | int, cache: CacheFolder, command: Sequence[str] | None = None,
                 url: str | None = None, headers: Mapping[str, Any] | None = None, answer: str = '',
                 label_key: str = 'label', score_key: str = 'score', name: str | None = None,
                 requests_per_minute: float | None = None, retries: int = 4, timeout: float = 30.0,
                 price_per_request: float = 0.0, max_requests: int | None = None):
        where = f'BlackBoxRecognizer({name})' if name else 'BlackBoxRecognizer'
        if bool(command) == bool(url):
            raise ValueError(f'{where}: expected one of command and url, got {"both" if url else "neither"}.')
        if headers and not url:
            raise ValueError(f'{where}: headers go with a url. Leave them out.')
        for key, value, fits in (
                ('requests_per_minute', requests_per_minute, requests_per_minute is None or requests_per_minute > 0),
                ('timeout', timeout, timeout > 0), ('retries', retries, retries >= 0),
                ('price_per_request', price_per_request, price_per_request >= 0),
                ('max_requests', max_requests, max_requests is None or max_requests >= 0)):
            if not fits:
                raise ValueError(f'{where}: {key}: out of range: {value}.')
        try:
            names = read_classes(classes)
            source = Command(command, timeout) if command else Endpoint(url or '', headers or {}, timeout)
        except ValueError as error:
            raise ValueError(f'{where}: {error}') from None
        count = classes if isinstance(classes, int) else len(names or ())
        super().__init__(nn.Identity(), RecognizerInfo(
            name=name or source.name, task='classification', num_classes=count,
            classes=names, differentiable=False, source=source.source))
        self.client = BlackBoxClient(source, cache, requests_per_minute, retries, max_requests)
        self.price_per_request = price_per_request
        self._format = {'path': answer, 'label_key': label_key, 'score_key': score_key}
        self._ids = {casefolded(name): i for i, name in reversed(list(enumerate(names or ())))}  # of twins, the first

    @property
    def cost(self) -> float:
        """Return the cost of the requests of all runs with this cache."""
        return self.client.ledger.requests * self.price_per_request

    def answers(self, images: torch.Tensor) -> list[Answer]:
        """Return the answers to each image: ``(label, score)``, best first, the score None where there is none.

        Raises:
            ValueError: It cannot be reached, refuses, answers something else than labels, or may not be asked any more.
        """
        pixels = self.prepare(images).detach().clamp(0, 1).mul(255).round().to(torch.uint8)
        try:
            return [read_answer(self.client.answer(image), **self._format)
                    for image in pixels.permute(0, 2, 3, 1).cpu().numpy()]
        except ValueError as error:
            ledger = self.client.ledger
            cost = f' (cost: {self.cost:g})' if self.price_per_request else ''
            raise ValueError(f'{self}: {error}. {ledger.requests} requests made{cost}, {len(ledger)} answers kept in '
                             f'{ledger.path.parent}: start again to go on from there.') from None

    @torch.no_grad()
    def predict(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return ``{'labels': (N, 5), 'scores': (N, 5)}``, best first, as the black box ranks them.

        Labels that are none of the classes are -1, as are missing ones. Scores are the black box's own: NaN where it
        gives none, 0 for a missing answer.
        """
        labels = torch.full((len(images), TOP_K), -1)
        scores = torch.zeros(len(images), TOP_K)
        for row, answer in enumerate(self.answers(images)):
            for column, (label, score) in enumerate(answer[:TOP_K]):
                labels[row, column] = self.class_id(label)
                scores[row, column] = math.nan if score is None else score
        return {'labels': labels.to(images.device), 'scores': scores.to(images.device)}

    def class_id(self, label: str | int) -> int:
        """Return the class of a label in an answer; -1 where it is none of the classes."""
        if isinstance(label, str) and self.info.classes is None:
            label = int(label) if label.strip().isdecimal() else -1
        if isinstance(label, int):
            return label if 0 <= label < self.info.num_classes else -1
        return self._ids.get(casefolded(label), -1)

    def own_words(self, images: torch.Tensor) -> list[str]:
        return [str(answer[0][0]) if answer else '' for answer in self.answers(images)]

    def check_label(self, label: Any, count: int, where: str) -> None:
        check_class_ids(label, count, self.info.num_classes, where)

    def _refuse(self) -> NoReturn:
        raise ValueError(f'{self}: a black box has no gradient, so it can judge (val.recognizers) but not serve as '
                         'a loss.')

    def loss(self, images: torch.Tensor, label: Any) -> dict[str, torch.Tensor]:
        self._refuse()

    def outputs(self, images: torch.Tensor, reference: Outputs | None = None) -> Outputs:
        self._refuse()

    def features(self, images: torch.Tensor) -> torch.Tensor:
        self._refuse()
