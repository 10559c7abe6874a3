"""Requests to a black box: one per image, rate-limited, retried where that may help, never beyond the budget."""
import hashlib
import io
import itertools
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ra_plugin.recognizers.blackbox.answer_format import read_json
from ra_plugin.recognizers.blackbox.answer_ledger import AnswerLedger
from ra_plugin.recognizers.blackbox.source import Command, Endpoint, Unavailable

_LONGEST_WAIT = 300.0  # seconds; a longer wait is better left to a later run


class BlackBoxClient:
    """Answers of a black box; each is requested once and then kept.

    Args:
        source: The black box.
        cache: Folder for the answers.
        requests_per_minute: At most this many.
        retries: Further requests for an image where the source is unavailable, after 1, 2, 4 ... seconds, or when it
            says.
        max_requests: Budget of all runs with this cache together, failed requests included.
    """

    def __init__(self, source: Command | Endpoint, cache: str, requests_per_minute: float | None, retries: int,
                 max_requests: int | None):
        self.source = source
        self.ledger = AnswerLedger(Path(cache) / f'{hashlib.sha256(source.identity.encode()).hexdigest()}.jsonl')
        self.pause = 60 / requests_per_minute if requests_per_minute else 0.0
        self.retries = retries
        self.max_requests = max_requests
        self._next_request = -math.inf  # when it may be made, by the monotonic clock

    def answer(self, image: np.ndarray) -> Any:
        """Return the black box's answer to an ``(H, W, 3)`` uint8 RGB image, as parsed from JSON.

        Raises:
            ValueError: It cannot be reached, refuses, answers something else than JSON, or may not be asked any more.
        """
        key = hashlib.sha256(f'{image.shape}'.encode() + image.tobytes()).hexdigest()
        if key not in self.ledger:
            self.ledger.add(key, read_json(self._ask(key, image)))
        return self.ledger[key]

    def _ask(self, key: str, image: np.ndarray) -> bytes:
        file = io.BytesIO()
        Image.fromarray(image).save(file, 'PNG')
        for attempt in itertools.count():
            time.sleep(max(0.0, self._next_request - time.monotonic()))
            self._next_request = time.monotonic() + self.pause
            if not self.ledger.book(key, self.max_requests):
                raise ValueError(f'max_requests: all {self.max_requests} requests are made, and the next image needs '
                                 'one more. Raise it')
            try:
                return self.source.ask(file.getvalue())
            except Unavailable as error:
                wait = max(2.0 ** attempt, error.wait)
                if attempt == self.retries or wait > _LONGEST_WAIT:
                    later = f', to be asked again in {error.wait:.0f} s' if error.wait else ''
                    raise ValueError(f'{error}{later}, after {attempt + 1} requests for one image') from None
                self._next_request = max(self._next_request, time.monotonic() + wait)
        raise AssertionError('the attempts have no end')
