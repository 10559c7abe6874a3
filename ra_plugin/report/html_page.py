"""One self-contained HTML file: styles, script and images are within, and the browser is told to ask for nothing else.

What is inline is allowed by its hash, so that markup which slipped through the escaping could not run as a script.
"""
import base64
import hashlib
import html
import io
from pathlib import Path

import numpy as np
from PIL import Image

from ra_plugin.utils.text import printable

_PAGES = Path(__file__).with_name('pages')
_PNG_UP_TO = 128  # pixels; larger images are photographs, which JPEG takes a tenth of the room for


def page(name: str, title: str, body: str) -> str:
    """A page with the style ``pages/NAME.css`` and, where there is one, the script ``pages/NAME.js``.

    ``body`` is HTML, ``title`` text.
    """
    style, script = (file.read_text() if (file := _PAGES / f'{name}.{suffix}').exists() else ''
                     for suffix in ('css', 'js'))
    policy = (f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
              "base-uri 'none'; form-action 'none'")
    return (f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f'<title>{escape(title)}</title>\n<link rel="icon" href="data:,">\n<style>{style}</style>\n</head>\n'
            f'<body>\n{body}\n<script>{script}</script>\n</body>\n</html>\n')


def escape(text: str) -> str:
    """Text from elsewhere as HTML that shows just this text, also within the quotes of an attribute."""
    return html.escape(printable(' '.join(text.split())))


def image_uri(image: np.ndarray, longest: int) -> str:
    """A ``data:`` address of an image ``(H, W, 3)`` uint8, shrunk where a side has more than ``longest`` pixels."""
    picture, file = Image.fromarray(image), io.BytesIO()
    picture.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    kind = 'png' if max(picture.size) <= _PNG_UP_TO else 'jpeg'
    picture.save(file, kind, **({'quality': 92} if kind == 'jpeg' else {}))
    return f'data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}'


def _hash(inline: str) -> str:
    return f'sha256-{base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()}'
