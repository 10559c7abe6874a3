"""XML files in the encoding that they declare, also those that Python's parser does not know, such as GBK."""
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
        OptionError: It is no XML, not in the encoding that it declares (UTF-8 where it declares none), or defines
            entities, of which a few lines can expand to gigabytes.
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
        raise OptionError(f"{where}: expected XML without entities of its own, got some in '{path}'. Take them out.")
    try:
        return ElementTree.fromstring(text)  # of text the parser does not look at the declaration
    except (ElementTree.ParseError, ValueError) as error:
        raise OptionError(f"{where}: expected XML, got '{path}' with an error ({error}). "
                          'Mend it or make it again.') from None
