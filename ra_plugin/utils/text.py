"""Text from files and data sets, made harmless for where it is written: a terminal, a log, a Markdown table."""
import html
import re

_CONTROL = re.compile(r'[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]')  # all but tab and newline
# an underscore within a word, and brackets that no address follows, are themselves
_MARKUP = re.compile(r'([\\`*|~]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|\](?=[(\[:]))')


def printable(text: str) -> str:
    """Control characters as ``\\x1b``: a file's name must not steer the terminal, nor reorder or overwrite a line."""
    return _CONTROL.sub(lambda match: match[0].encode('unicode_escape').decode(), text)


def markdown_cell(text: str) -> str:
    """One cell of a table that shows just this text: no markup, HTML, line or further cell comes of it."""
    return _MARKUP.sub(r'\\\1', html.escape(printable(' '.join(text.split())), quote=False))
