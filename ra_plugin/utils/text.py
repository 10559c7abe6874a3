"""Escaping of text from files and data sets for a terminal, a log or a Markdown table."""
import html
import re
import unicodedata
from typing import Any

_CONTROL = re.compile(r'[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]')  # all but tab and newline
# an underscore within a word and brackets that are not followed by an address are no markup
_MARKUP = re.compile(r'([\\`*|~]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|\](?=[(\[:]))')


def printable(text: str) -> str:
    """Escape control characters as ``\\x1b``, so that a file name cannot control the terminal or overwrite a line."""
    return _CONTROL.sub(lambda match: match[0].encode('unicode_escape').decode(), text)


def markdown_cell(text: str) -> str:
    """Escape text for one cell of a Markdown table: no markup, HTML, line break or further cell results from it."""
    return _MARKUP.sub(r'\\\1', html.escape(printable(one_line(text)), quote=False))


def one_line(text: object, most: int | None = None) -> str:
    """Return text, such as the message of an error, as one line of at most ``most`` characters."""
    return ' '.join(str(text).split())[:most]


def how_many(number: int, noun: str) -> str:
    """Return ``1 image``, ``2 images``, ``3 identities``."""
    plural = f'{noun[:-1]}ies' if noun.endswith('y') else f'{noun}es' if noun.endswith(('s', 'x', 'ch')) else f'{noun}s'
    return f'{number} {noun if number == 1 else plural}'


def composed(text: str) -> str:
    """Return text with letters and their accents as one character each (Unicode NFC), whatever wrote it."""
    return unicodedata.normalize('NFC', text)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, at most 300 characters; the class name for an empty message."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:300]


def shown(value: Any, most: int = 300) -> str:
    """Return the ``repr`` of an option's value in one short line; objects with a long one become their class name."""
    text = repr(_with_short_names(value))
    return text if len(text) <= most else f'{text[:most]} ...'


class _Name:
    def __init__(self, value: Any):
        self.name = type(value).__name__

    def __repr__(self) -> str:
        return f'<{self.name}>'


def _with_short_names(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_short_names(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(_with_short_names, value))
    if value is None or isinstance(value, (str, bytes, int, float)):
        return value
    text = repr(value)
    return _Name(value) if len(text) > 80 or '\n' in text else value
