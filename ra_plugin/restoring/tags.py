"""EXIF tags of a photograph that still hold after it is restored."""
import warnings

from PIL import Image

from ra_plugin.utils.text import one_line
from ra_plugin.utils.warn import warn

_ORIENTATION = 274
_EXIF, _GPS = 34665, 34853  # tags under which further tags are
_INTEROPERABILITY, _WIDTH, _HEIGHT = 40965, 40962, 40963  # within those of _EXIF
# A TIFF file keeps the layout of its pixels in the same table. These are about the photograph: description, camera,
# resolution, program, dates, people, rights.
_ABOUT_THE_PHOTOGRAPH = {270, 271, 272, 282, 283, 296, 305, 306, 315, 316, 18246, 18249, 33432,
                         *range(40091, 40096)}


def kept_tags(image: Image.Image, path: str) -> Image.Exif:
    """Return the EXIF tags of an opened file without the orientation and the thumbnail.

    Tags that cannot be read are left out, with a warning.
    """
    kept = Image.Exif()
    try:
        with warnings.catch_warnings(record=True) as said:  # Pillow's, of tags that it leaves out
            warnings.simplefilter('always')
            _copy(image, kept)
    except Exception as error:  # damaged EXIF data raises many kinds of errors: struct.error, SyntaxError, ...
        warn(f'{path}: its EXIF tags cannot be read and are left out ({type(error).__name__}).')
        return Image.Exif()
    if said:
        warn(f'{path}: some of its EXIF tags cannot be read and are left out ({one_line(said[0].message)}).')
    return kept


def _copy(image: Image.Image, kept: Image.Exif) -> None:
    """Copy tags, and check that they can be written."""
    found = image.getexif()
    kept.endian = found.endian
    for tag, value in found.items():
        if tag not in (_ORIENTATION, _EXIF, _GPS) and (image.format != 'TIFF' or tag in _ABOUT_THE_PHOTOGRAPH):
            kept[tag] = value
    for tag in (_EXIF, _GPS):
        below = {key: value for key, value in found.get_ifd(tag).items() if key != _INTEROPERABILITY}
        if below:
            kept[tag] = below
    kept.tobytes()


def of_size(tags: Image.Exif, width: int, height: int) -> Image.Exif:
    """Return tags with the size of the image, where they have one, changed to this one."""
    below = tags.get(_EXIF)
    if isinstance(below, dict):
        tags[_EXIF] = {**below, **{tag: value for tag, value in ((_WIDTH, width), (_HEIGHT, height)) if tag in below}}
    return tags
