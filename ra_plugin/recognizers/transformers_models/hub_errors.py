"""Errors of fetching a model from the hub, in one line each: what happened, and what to do."""
import contextlib
from collections.abc import Iterator
from typing import Any

from ra_plugin.library_errors import is_network_error, translated
from ra_plugin.options import OptionError
from ra_plugin.utils.optional import require
from ra_plugin.utils.text import first_line

_ANSWERS = {  # of the hub, by the class of the error; {model} and {revision} are filled in
    'GatedRepoError': "{model} is gated: its owner grants access one by one. Ask for it at https://huggingface.co/"
                      "{model}, then log in: hf auth login.",
    'DisabledRepoError': '{model} has been disabled by the hub. Choose another model.',
    'RepositoryNotFoundError': 'the hub has no model {model}, or it is private. Check the name; for a private one log '
                               'in: hf auth login.',
    'RevisionNotFoundError': '{model} has no revision {revision} on the hub. Choose one of its branches, tags or '
                             'commits.',
}
_NO_FILE = 'does not appear to have'  # in transformers' message
_WEIGHTS = 'safetensors'


@contextlib.contextmanager
def fetching(model: str, revision: str | None, where: str) -> Iterator[None]:
    """Turn exceptions of transformers within the context into one line with the remedy.

    Raises:
        OptionError: The hub has no such model, revision or file, or does not give it; or nothing could be fetched.
    """
    with translated(where):
        try:
            yield
        except Exception as error:
            found = _told(error, model, revision, where)
            if found is None:
                raise
            raise OptionError(f'{where}: {found}') from error


def _told(error: Exception, model: str, revision: str | None, where: str) -> str | None:
    """Return what happened; None for an error that is not about fetching."""
    errors = list(_chain(error))
    names = {cls.__name__ for one in errors for cls in type(one).__mro__}
    answer = next((text for name, text in _ANSWERS.items() if name in names), None)
    if answer:
        return answer.format(model=model, revision=revision)
    if _NO_FILE in str(error) and _WEIGHTS in str(error):
        return (f'{model} has no weights in safetensors files, and loading others could run code. Choose another '
                'revision or model, or save them as safetensors in a folder: model.save_pretrained(FOLDER).')
    if _NO_FILE in str(error):
        return f'{first_line(error)} Choose a model with it, or save it in a folder beside the weights.'
    status = next((response.status_code for response in (getattr(one, 'response', None) for one in errors)
                   if response is not None), None)
    if status is not None:
        return f'the hub answered {status} for {model} ({first_line(error)}). Try again later.'
    if not is_network_error(error):
        return None
    cache = require('huggingface_hub.constants', where).HF_HUB_CACHE
    return (f'{model} cannot be fetched, and is not in {cache} ({first_line(error)}). Fetch it where there is a '
            'network, or name a folder that save_pretrained() wrote.')


def _chain(error: BaseException | None) -> Iterator[Any]:
    """Yield an error and those that it came from."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
