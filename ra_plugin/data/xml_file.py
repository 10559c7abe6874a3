"""Reading of XML files in their declared encoding, including those that Python's parser lacks, such as GBK."""
import codecs
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from ra_plugin.options import OptionError

_DECLARED = re.compile(rb'<\?xml[^>]*?encoding\s*=\s*["\']([A-Za-z0-9._-]+)["\']')
_MARKS = {codecs.BOM_UTF8: 'utf-8-sig', codecs.BOM_UTF32_LE: 'utf-32', codecs.BOM_UTF32_BE: 'utf-32',
          codecs.BOM_UTF16_LE: 'utf-16', codecs.BOM_UTF16_BE: 'utf-16'}


def read_xml(path: str, where: str) -> ElementTree.Element:
    """Return the root of an XML file; ``where`` is its place in the options, for messages.

    Raises:
        OptionError: The file is not XML, is not in its declared encoding (by default UTF-8), or defines entities, of
            which a few lines can expand to gigabytes.
    """
    data = Path(path).read_bytes()
    declared = _DECLARED.match(data)
    encoding = next((name for mark, name in _MARKS.items() if data.startswith(mark)), None)
    encoding = encoding or (declared[1].decode() if declared else 'utf-8')
    try:
        text = data.decode(encoding)
    except (UnicodeError, LookupError) as error:
        says = f'as it declares {encoding}' if declared else 'as it declares no encoding'
        raise OptionError(f"{where}: expected XML in '{path}' in {'UTF-8' if not declared else encoding}, {says}, got "
                          f'other bytes ({error}). Declare its encoding, or save it as UTF-8.') from None
    if '<!ENTITY' in text:
        raise OptionError(f"{where}: expected XML without entity declarations, got some in '{path}'. Remove them.")
    try:
        return ElementTree.fromstring(text)  # for decoded text the parser ignores the declaration
    except (ElementTree.ParseError, ValueError) as error:
        raise OptionError(f"{where}: expected XML, got '{path}' with an error ({error}). "
                          'Fix it or create it again.') from None
