"""Lists of word images and their words: CSV, JSON, and the text files of ICDAR and PaddleOCR."""
import os
from collections.abc import Sequence

from ra_plugin.data.annotations import check_one_label, read_labels
from ra_plugin.data.files import check_file
from ra_plugin.options import OptionError
from ra_plugin.recognizers.characters import spelled, split
from ra_plugin.utils.text import composed
from ra_plugin.utils.text_file import read_text


def read_words(path: str, where: str) -> list[tuple[str, str]]:
    """Return the image names and words in a list, the words in Unicode's composed form.

    Args:
        path: ``.csv`` or ``.json`` as in :class:`LabeledImageDataset`; or ``.txt``, with a line ``word_1.png, "Text"``
            as in ICDAR's challenges, or name and word with a tab between them, as for PaddleOCR.
        where: Place in the options, for messages.

    Raises:
        OptionError: No such file, a line that is neither, a word that is a number or has a line break, or an image with
            two words.
    """
    if os.path.splitext(path)[1].lower() != '.txt':
        return [(name, _word(word, name, path, where)) for name, word in read_labels(path, where)]
    check_file(path, where)
    lines = [line.rstrip('\r') for line in read_text(path, where).lstrip('\ufeff').split('\n')]
    found = [_pair(line, i, path, where) for i, line in enumerate(lines, 1) if line.strip()]
    check_one_label(found, path, where)
    return [(name, composed(word)) for name, word in found]


def _word(label: str | int | float, name: str, path: str, where: str) -> str:
    if not isinstance(label, str):  # 10.50 would have become 10.5
        raise OptionError(f"{where}: expected words in '{path}', got the number {label} for '{name}'. Quote it.")
    if len(label.splitlines()) > 1:
        raise OptionError(f"{where}: expected words of one line in '{path}', got {label!r} for '{name}'. Is a "
                          'quotation mark missing?')
    return composed(label)


def _pair(line: str, number: int, path: str, where: str) -> tuple[str, str]:
    if '\t' in line:
        name, _, word = line.partition('\t')
        return name.strip(), word
    name, comma, word = line.partition(',')
    word = word.strip()
    if not comma or len(word) < 2 or word[0] != '"' or word[-1] != '"':
        raise OptionError(f"{where}: expected 'word_1.png, \"Text\"', or name and word with a tab between them, in "
                          f"line {number} of '{path}', got {line!r}.")
    return name.strip(), word[1:-1].replace('\\"', '"').replace('\\\\', '\\')


def only_of(entries: Sequence[tuple[str, str]], characters: Sequence[str] | None) -> list[tuple[str, str]]:
    """Return the entries whose words a reader of these characters can write; all where None is given."""
    if characters is None:
        return list(entries)
    known, allowed = tuple(characters), set(characters)
    return [(name, word) for name, word in entries if allowed.issuperset(split(spelled(word, known), known))]
