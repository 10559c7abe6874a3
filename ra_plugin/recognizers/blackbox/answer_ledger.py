"""Requests to a black box and its answers in an append-only file, from which an interrupted run continues."""
import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ra_plugin.recognizers.blackbox.file_lock import exclusive


class AnswerLedger:
    """A file of requests and answers, one line of JSON each; each line is on the disk before the next step is taken.

    A line that a dying process left half written is passed over. Several processes may use one file at a time: they
    count each other's requests, and see each other's answers.

    Args:
        path: The file; it is made with the first line, its folder at once.

    Attributes:
        requests: Number of requests of all runs, also those that failed.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.requests = 0
        self._places: dict[str, int] = {}  # where in the file the answer on an image begins
        self._end = 0  # of the last whole line that was read
        self._read_on()

    def __len__(self) -> int:
        """Number of images with an answer."""
        return len(self._places)

    def __contains__(self, image: str) -> bool:
        return image in self._places

    def __getitem__(self, image: str) -> Any:
        with self.path.open('rb') as file:
            file.seek(self._places[image])
            return json.loads(file.readline())['answer']

    def book(self, image: str, most: int | None) -> bool:
        """Note a request that is about to be made; return False, with nothing noted, where ``most`` were made already.
        """
        with self._locked() as file:
            if most is not None and self.requests >= most:
                return False
            self._append(file, {'request': image})
            return True

    def add(self, image: str, answer: Any) -> None:
        """Store an answer, as parsed from JSON."""
        with self._locked() as file:
            self._append(file, {'image': image, 'answer': answer})

    @contextlib.contextmanager
    def _locked(self) -> Iterator[BinaryIO]:
        with self.path.open('ab') as file, exclusive(file):
            self._read_on()
            yield file

    def _append(self, file: BinaryIO, record: dict) -> None:
        is_cut_off = self.path.stat().st_size > self._end
        file.write((b'\n' if is_cut_off else b'') + json.dumps(record).encode() + b'\n')
        file.flush()
        os.fsync(file.fileno())
        self._read_on()

    def _read_on(self) -> None:
        """Read the whole lines that this or another process has added since."""
        if not self.path.exists():
            return
        with self.path.open('rb') as file:
            file.seek(self._end)
            for line in file:
                if not line.endswith(b'\n'):
                    break
                self._take_in(line)
                self._end += len(line)

    def _take_in(self, line: bytes) -> None:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            return
        if isinstance(record, dict):
            self.requests += 'request' in record
            if isinstance(record.get('image'), str) and 'answer' in record:
                self._places[record['image']] = self._end
