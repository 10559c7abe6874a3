"""Check, before training, that the readers in the loss can read all words of a data set."""
from collections.abc import Iterable

from ra_plugin.data.image_dataset import ImageDataset
from ra_plugin.data.text_dataset import TextDataset
from ra_plugin.data.with_labels import inner_dataset
from ra_plugin.options import OptionError
from ra_plugin.recognizers import Recognizer


def check_words(dataset: ImageDataset, recognizers: Iterable[Recognizer], where: str) -> None:
    """Check the words of a `TextDataset` as the loss will in each batch; other data sets have none.

    Raises:
        OptionError: A word has characters that a recognizer does not know, or too many; the message names its file.
    """
    dataset = inner_dataset(dataset)
    if not isinstance(dataset, TextDataset):
        return
    for recognizer in (member for owner in recognizers for member in owner.members()):
        try:
            recognizer.check_label(dataset.words, len(dataset.words), where)
        except ValueError as error:
            raise OptionError(_first_of(dataset, recognizer, where) or str(error)) from None


def _first_of(dataset: TextDataset, recognizer: Recognizer, where: str) -> str | None:
    """Return the message of the first word that is refused, with its file."""
    for path, word in zip(dataset.paths, dataset.words, strict=True):
        try:
            recognizer.check_label([word], 1, f'{where}: {path}: {recognizer}')
        except ValueError as error:
            return str(error)
    return None
