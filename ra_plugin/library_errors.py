"""Turn exceptions of other packages into one line with the place in the options."""
import contextlib
import inspect
import re
import urllib.error
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from ra_plugin.options import OptionError, nearest
from ra_plugin.utils.text import one_line

_NETWORK_PACKAGES = ('requests', 'urllib3', 'httpx', 'httpx2', 'httpcore', 'huggingface_hub')  # they fetch files
_NO_SUCH_ARGUMENT = re.compile(r"([\w.<>]+)\(\) got an unexpected keyword argument '(\w+)'")
# How a class names an argument of its own: 'RecogLoss.recognizer: ', 'Compose.steps[1]: ', 'RecogLoss: reduction: ',
# 'LabeledImageDataset(val).crop_size: '.
_ARGUMENT_NAME = re.compile(r'[A-Z]\w*(?:(?:\([^()]*\))?((?:\.\w+|\[\d+\])+)|: (\w+)): ')
_ABOUT_ARGUMENTS = re.compile(r'\(\) (got an unexpected keyword|missing \d+ required|takes )')


@contextlib.contextmanager
def translated(where: str, weights_in: str = '') -> Iterator[None]:
    """Turn exceptions of other code within the context into an OptionError that begins with ``where``.

    Errors that this package words itself get ``where`` in front, if they lack it, and stay what they are. An error that
    is neither is a fault of this package, and is left alone, as is a lack of memory. ``RA_PLUGIN_DEBUG=1`` shows
    where an error came from, see `ra_plugin.utils.command_line.run`.

    Args:
        where: The place in the options.
        weights_in: The folder in which the package looks for weights before it fetches them.
    """
    try:
        yield
    except Exception as error:
        if _is_out_of_memory(error):
            raise
        if is_worded(error):
            _place(error, where)
            raise
        if isinstance(error, ImportError):  # of a user's own module, which knows what it misses
            _place(error, where)
            raise
        if _is_fault(error):
            raise
        raise OptionError(f'{where}: {told(error, weights_in)}') from error


def _place(error: Exception, where: str) -> None:
    """Put the place in an option file before the message; from Python there is none.

    Where the class of the block names an argument of its own, the place of that key is put.
    """
    if '.' in where and where not in str(error) and len(error.args) == 1:
        own = _ARGUMENT_NAME.match(str(error))
        key = '' if own is None else own[1] or f'.{own[2]}'
        error.args = (f'{where}{key}: {str(error)[own.end() if own else 0:]}',)


def told(error: Exception, weights_in: str = '') -> str:
    """Return the message of another package's exception in one short line, with a remedy for common ones."""
    if is_network_error(error):
        place = f', and are not in {weights_in}' if weights_in else ''
        return (f'its weights cannot be fetched{place} ({_short(error)}). Fetch them where there is a network, or set '
                'checkpoint: FILE.')
    match = _NO_SUCH_ARGUMENT.search(str(error)) if isinstance(error, TypeError) else None
    if match:
        name, known = _owner(match[1]), _parameters(match[1], error.__traceback__)
        meant = nearest(match[2], known)
        return (f"{name} takes no '{match[2]}'." + (f" Did you mean '{meant}'?" if meant else '')
                + (f' Known: {", ".join(known)}' if known else ''))
    text = _short(error)
    return text if type(error) in (ValueError, RuntimeError, AssertionError) and ' ' in text else (
        f'{type(error).__name__}: {text}' if text else type(error).__name__)


def is_network_error(error: BaseException | None) -> bool:
    """Return whether something could not be fetched."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, (urllib.error.URLError, ConnectionError)) or (
                type(error).__module__.partition('.')[0] in _NETWORK_PACKAGES):
            return True
        error = error.__cause__ or error.__context__
    return False


def innermost_module(error: BaseException) -> str:
    """Return the name of the module whose code raised an exception."""
    frames = list(_frames(error.__traceback__))
    return frames[-1].f_globals.get('__name__', '') if frames else ''


def _is_ours(error: BaseException) -> bool:
    return innermost_module(error).partition('.')[0] == 'ra_plugin'


def _is_out_of_memory(error: BaseException) -> bool:
    """Return whether memory ran out, in torch or Python; torch, which takes seconds to import, is not."""
    return type(error).__name__ in ('OutOfMemoryError', 'MemoryError')


def is_worded(error: BaseException) -> bool:
    """Return whether the message is one of this package's."""
    words = isinstance(error, OptionError) or isinstance(error, (ValueError, ImportError, OSError)) and _is_ours(error)
    return words and type(error).__module__.partition('.')[0] in ('builtins', 'ra_plugin')


def _is_fault(error: BaseException) -> bool:
    """Return whether the error is a bug of this package; a call with a user's arguments is none."""
    called = isinstance(error, TypeError) and _ABOUT_ARGUMENTS.search(str(error))
    return _is_ours(error) and type(error).__module__ == 'builtins' and not called


def _short(error: BaseException) -> str:
    text = one_line(error)
    return text if len(text) <= 200 else f'{text[:197]}...'


def _owner(function: str) -> str:
    return function.removesuffix('.__init__')


def _parameters(function: str, traceback: TracebackType | None) -> list[str]:
    """Return the arguments of the function or class in a message, if a frame of the traceback has it."""
    name = _owner(function)
    for frame in reversed(list(_frames(traceback))):
        for value in (*frame.f_locals.values(), *frame.f_globals.values()):
            if _is_called(value, name):
                with contextlib.suppress(TypeError, ValueError):
                    return [key for key, p in inspect.signature(value).parameters.items()
                            if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    return []


def _is_called(value: Any, name: str) -> bool:
    if isinstance(value, type):
        return any(base.__qualname__ == name for base in value.__mro__)
    return inspect.isfunction(value) and value.__qualname__ == name


def _frames(traceback: TracebackType | None) -> Iterator[Any]:
    while traceback is not None:
        yield traceback.tb_frame
        traceback = traceback.tb_next
