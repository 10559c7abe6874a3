"""Reading of text files that users write: UTF-8, with or without a byte order mark."""
import codecs
from pathlib import Path

from ra_plugin.options import OptionError

_MARKS = {codecs.BOM_UTF32_LE: 'UTF-32', codecs.BOM_UTF32_BE: 'UTF-32',  # before UTF-16, whose mark it begins with
          codecs.BOM_UTF16_LE: 'UTF-16', codecs.BOM_UTF16_BE: 'UTF-16'}


def read_text(path: str | Path, where: str) -> str:
    """Return the text of a UTF-8 file, independent of the locale.

    Args:
        path: The file.
        where: Its place in the options, for messages.

    Raises:
        OptionError: The file is not UTF-8.
        OSError: The file cannot be read.
    """
    data = Path(path).read_bytes()
    problem = None
    try:
        text = data.decode('utf-8-sig')
    except UnicodeDecodeError as error:
        problem = f'a byte that is not UTF-8 at position {error.start}'
    if b'\0' in data:
        problem = f'a zero byte at position {data.index(0)}, as in UTF-16'
    problem = next((name for mark, name in _MARKS.items() if data.startswith(mark)), problem)
    if problem:
        raise OptionError(f"{where}: expected UTF-8 text in '{path}', got {problem}. Save it as UTF-8 (in an editor: "
                          'Save as, Encoding; in a shell: iconv -f ENCODING -t UTF-8).')
    return text
