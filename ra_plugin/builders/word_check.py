"""Check, before training, that the words of a data set can be read: by their characters, lengths and shapes."""
from collections.abc import Iterable

from ra_plugin.data.image_dataset import ImageDataset
from ra_plugin.data.text_dataset import TextDataset
from ra_plugin.data.with_labels import inner_dataset
from ra_plugin.options import OptionError
from ra_plugin.recognizers import Recognizer
from ra_plugin.recognizers.text import TextRecognizer, long_words
from ra_plugin.utils.warn import warn


def check_words(dataset: ImageDataset, recognizers: Iterable[Recognizer], where: str) -> None:
    """Check the words of a `TextDataset` as the loss will in each batch; other data sets have none.

    Words that are squeezed into the size of a batch are warned of, and those that are too long for a reader.

    Raises:
        OptionError: A word has characters that a recognizer does not know, or too many; the message names its file.
    """
    dataset = inner_dataset(dataset)
    if not isinstance(dataset, TextDataset):
        return
    count, of = dataset.squeezed()
    if count:
        height, width = dataset.options.size or (0, 0)
        warn(f'{where}: size: {count} of {of} words are squeezed into {width}x{height} pixels, to less than 4/5 '
             'of their width. Set a greater width, or max_length to leave long words out.')
    members = [member for owner in recognizers for member in owner.members()]
    for recognizer in members:
        try:
            recognizer.check_label(dataset.words, len(dataset.words), where)
        except ValueError as error:
            raise OptionError(_first_of(dataset, recognizer, where) or str(error)) from None
    warn_of_long_words(dataset, members, where)


def warn_of_long_words(dataset: ImageDataset, recognizers: Iterable[Recognizer], where: str) -> None:
    """Warn of words that a reader cannot write, and count them; where images have sizes of their own, `loss` does."""
    dataset = inner_dataset(dataset)
    readers = [member for owner in recognizers for member in owner.members() if isinstance(member, TextRecognizer)]
    if not isinstance(dataset, TextDataset):
        return
    size = dataset.options.size
    for reader in readers:
        found = reader.too_long(dataset.words, (size[0], size[1]) if size else None)
        if found:
            reader.warns_of_long_words = False
            warn(f'{where}: {reader}: {len(found)} of {len(dataset.words)} words, {long_words(found)}')


def _first_of(dataset: TextDataset, recognizer: Recognizer, where: str) -> str | None:
    """Return the message of the first word that is refused, with its file."""
    for path, word in zip(dataset.paths, dataset.words, strict=True):
        try:
            recognizer.check_label([word], 1, f'{where}: {path}: {recognizer}')
        except ValueError as error:
            return str(error)
    return None
