"""Characters in options, and words as sequences of their numbers."""
import functools
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import torch

from ra_plugin.option_types import Characters
from ra_plugin.options import OptionError
from ra_plugin.utils.text import composed
from ra_plugin.utils.text_file import read_text
from ra_plugin.utils.warn import warn


def read_characters(characters: Characters, where: str) -> tuple[str, ...]:
    """Return characters given as one text, as a list, or as the name of a text file with one a line.

    One may be several code points, in a list or a file.

    Raises:
        OptionError: No such file, none, or an empty one.
    """
    if isinstance(characters, str) and len(characters) > 1 and Path(characters).suffix == '.txt':
        if not Path(characters).is_file():
            raise OptionError(f'{where}: characters: no file {characters}. Name a text file with one a line, or write '
                              'them as one text.')
        characters = read_text(Path(characters), f'{where}: characters').split('\n')
        characters = [line.rstrip('\r') for line in characters if line.rstrip('\r')]
    found = tuple(characters)
    if not all(found) or not found:
        raise OptionError(f'{where}: characters: expected some, got {"an empty one" if found else "none"}.')
    return found


def warn_of_doubles(characters: Sequence[str], where: str) -> None:
    """Warn of characters that a reader has twice, as EasyOCR's of Devanagari and Arabic, and as by a mistake."""
    twice = [character for character, count in Counter(characters).items() if count > 1]
    if twice:
        warn(f'{where}: characters: expected each once, got {" and ".join(map(repr, twice))} more than once. Words are '
             'written with the last, as by EasyOCR and PaddleOCR. If it is a mistake, all that follow have wrong '
             'numbers.')


def spelled(word: str, characters: tuple[str, ...]) -> str:
    """Return a word with its letters in those Unicode forms that a reader's characters have, equal to the eye.

    Most have letters with their accents as one character, some have the accents apart; and scripts of India and Hebrew
    have characters that Unicode's composed form takes apart.
    """
    known, own, pattern = _own_forms(characters)
    word = composed(word)
    if own:
        word = pattern.sub(lambda found: own[found[0]], word)
    return ''.join(letter if letter in known else unicodedata.normalize('NFD', letter) for letter in word)


def split(word: str, characters: tuple[str, ...]) -> list[str]:
    """Return a word that is `spelled` as a list of a reader's characters, the longest first; others are single."""
    return _tokens(characters).findall(word)


@functools.lru_cache(16)
def _tokens(characters: tuple[str, ...]) -> re.Pattern[str]:
    long = sorted({character for character in characters if len(character) > 1}, key=len, reverse=True)
    return re.compile('|'.join((*map(re.escape, long), '.')), re.DOTALL)


@functools.lru_cache(16)
def _own_forms(characters: tuple[str, ...]) -> tuple[set[str], Mapping[str, str], re.Pattern[str]]:
    """Return the characters as a set, those not in composed form by that form, and a pattern that finds these forms."""
    known = set(characters)
    own = {composed(character): character for character in characters if composed(character) not in known}
    return known, own, re.compile('|'.join(map(re.escape, sorted(own, key=len, reverse=True))))


def steps_needed(word: Sequence[str]) -> int:
    """Return the least number of steps by CTC: one for each character, and a blank between two that are equal."""
    return len(word) + sum(one == following for one, following in pairwise(word))


class CTCCoder:
    """Translator between words and the steps of a network trained by connectionist temporal classification.

    Args:
        characters: In the order of the network's classes, the blank left out. Of one that is there twice, words are
            written with the last, and either is read.
        blank: Class of the blank.
    """

    def __init__(self, characters: Sequence[str], blank: int):
        self.blank = blank
        numbers = [number for number in range(len(characters) + 1) if number != blank]
        self._known = tuple(characters)
        self._numbers = dict(zip(characters, numbers, strict=True))
        self._characters = dict(zip(numbers, characters, strict=True))

    def encode(self, words: Sequence[str], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the classes of all characters of all words in a row, ``(S,)``, and the lengths, ``(N,)``."""
        found = [self._split(word) for word in words]
        classes = [self._numbers[character] for word in found for character in word]
        return (torch.tensor(classes, dtype=torch.long, device=device),
                torch.tensor([len(word) for word in found], dtype=torch.long, device=device))

    def steps(self, words: Sequence[str]) -> list[int]:
        """Return the least number of steps of each word, see `steps_needed`."""
        return [steps_needed(self._split(word)) for word in words]

    def _split(self, word: str) -> list[str]:
        return split(spelled(word, self._known), self._known)

    def decode(self, probabilities: torch.Tensor) -> list[tuple[str, float]]:
        """Return for each image the word of the likeliest class at each step, and the mean probability of its letters.

        Repeated classes count once unless a blank is between them (Graves et al., 2006); a word without letters has the
        mean probability of the blanks.

        Args:
            probabilities: ``(N, T, C)``.
        """
        best, classes = probabilities.max(2)
        found = []
        for scores, path in zip(best.tolist(), classes.tolist(), strict=True):
            places = [step for step, number in enumerate(path)
                      if number != self.blank and (step == 0 or number != path[step - 1])]
            word = ''.join(self._characters[path[step]] for step in places)
            counted = places or range(len(path))
            found.append((word, sum(scores[step] for step in counted) / max(len(counted), 1)))
        return found
