"""Self-contained HTML files: styles, script and images are inline, and the page's policy forbids any request.

Inline parts are allowed by their hash, so that markup which slipped through the escaping could not run as a script.
"""
import base64
import hashlib
import html
import io
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from ra_plugin.utils.text import one_line, printable

_PAGES = Path(__file__).with_name('pages')
_PNG_UP_TO = 128  # pixels; larger images are photographs, which JPEG takes a tenth of the room for


def render(template: str, /, **content: Any) -> str:
    """Render ``pages/TEMPLATE.html``; text in its expressions loses control characters."""
    environment = Environment(loader=FileSystemLoader(_PAGES), autoescape=True, undefined=StrictUndefined,
                              trim_blocks=True, lstrip_blocks=True, finalize=_shown)
    return environment.get_template(f'{template}.html').render(**content)


def _shown(value: Any) -> Any:
    return printable(value) if type(value) is str else value  # markup is a subclass, and made of such values


def page(name: str, title: str, body: str) -> str:
    """Return a page with the style ``pages/NAME.css`` and, where there is one, the script ``pages/NAME.js``.

    Args:
        name: Name of the files.
        title: Text.
        body: HTML.
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
    """Escape text for HTML, also within the quotes of an attribute."""
    return html.escape(printable(one_line(text)))


def image_uri(image: np.ndarray, longest: int | None = None) -> str:
    """Return a ``data:`` address of an image.

    Args:
        image: ``(H, W, 3)`` uint8.
        longest: Larger images are shrunk to so many pixels a side, and photographs are JPEG. Default: as it is.
    """
    picture, file = Image.fromarray(image), io.BytesIO()
    if longest is not None:
        picture.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    kind = 'png' if longest is None or max(picture.size) <= _PNG_UP_TO else 'jpeg'
    picture.save(file, kind, **({'quality': 92} if kind == 'jpeg' else {'optimize': True}))
    return f'data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}'


def _hash(inline: str) -> str:
    return f'sha256-{base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()}'
