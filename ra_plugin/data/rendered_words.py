"""Images of words: rendered with fonts over photographs, each with its word, for experiments with readers.

An image is made of a patch of a photograph, and a word in one of the fonts: of a color that stands out by a given
contrast, turned by up to some degrees, and blurred as by a lens. Fonts and photographs of the test images are others
than those of training.
"""
import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from ra_plugin.data.cifar10 import DataError
from ra_plugin.data.files import IMAGE_SUFFIXES, files_below
from ra_plugin.utils.atomic import atomic_write

HEIGHT = 32  # pixels
CONTRAST = (40.0, 160.0)  # least and greatest difference of the luma of word and background, of 255 levels
TURN = 4.0  # greatest angle, in degrees
BLUR = (0.0, 0.7)  # least and greatest radius, in pixels
COUNTS = {'train': 8000, 'val': 500, 'test': 2500}
_LUMA = np.array([0.299, 0.587, 0.114])
_OVERSAMPLING = 3  # the word is drawn so many times larger


def prepare(out: str | Path, photographs: str | Path, fonts: str | Path, counts: dict[str, int] | None = None,
            seed: int = 0, progress: Callable = iter) -> Path:
    """Write ``out/{train,val,test}/00000.png`` and the words in ``out/{train,val,test}.csv``.

    Args:
        out: Output folder; the lists are written last.
        photographs: Folder of images, at any depth.
        fonts: Folder of TrueType or OpenType fonts, at any depth.
        counts: Split -> number of words, of train, val and test or some of them. Default: `COUNTS`.
        seed: Seed of all choices.
        progress: Function that wraps the iterable of images, for a progress bar.

    Returns:
        The output folder.

    Raises:
        DataError: Another split, or fewer than two photographs or fonts that have all letters and digits.
    """
    out, counts, splits = Path(out), counts or COUNTS, sorted(COUNTS)
    if foreign := set(counts) - set(splits):
        raise DataError(f'counts: expected some of {", ".join(splits)}, got {", ".join(sorted(foreign))}.')
    shots = _split([Path(photographs, name) for name in sorted(files_below(str(photographs), IMAGE_SUFFIXES))],
                   f'--source {photographs}', 'photographs')
    faces = _split([path for path in sorted(Path(fonts).rglob('*')) if path.suffix.lower() in ('.ttf', '.otf')
                    and _has_all(path)], f'--fonts {fonts}', 'fonts with all letters and digits')
    words, lists = vocabulary(), {}
    jobs = [(split, number) for split, count in counts.items() for number in range(count)]
    for split, number in progress(jobs):
        rng = np.random.default_rng((seed, splits.index(split), number))
        part = split == 'test'
        word = drawn(words, rng)
        image = render(word, _any(faces[part], rng), _any(shots[part], rng), rng)
        name = f'{split}/{number:05d}.png'
        (out / split).mkdir(parents=True, exist_ok=True)
        image.save(out / name)
        lists.setdefault(split, []).append((name, word))
    for split, rows in lists.items():
        text = io.StringIO()
        csv.writer(text, lineterminator='\n').writerows([('path', 'text'), *rows])
        atomic_write(text.getvalue(), out / f'{split}.csv')
    return out


def vocabulary() -> list[str]:
    """Return the shipped English words of 3 to 12 letters, in lower case, sorted; their file says where it is from."""
    lines = (Path(__file__).parents[1] / 'shipped' / 'words.txt').read_text(encoding='utf-8').splitlines()
    return [word for line in lines if not line.startswith('#') for word in line.split()]


def drawn(words: Sequence[str], rng: np.random.Generator) -> str:
    """Return a word of a list, `styled`."""
    return styled(words[int(rng.integers(len(words)))], rng)


def styled(word: str, rng: np.random.Generator) -> str:
    """Return a word in lower case, with a capital or in capitals, or a number in its place."""
    kind = rng.random()
    if kind < 0.1:
        return ''.join(map(str, rng.integers(10, size=int(rng.integers(2, 7)))))
    return word if kind < 0.5 else word.capitalize() if kind < 0.8 else word.upper()


def render(word: str, font: Path, photograph: Path, rng: np.random.Generator) -> Image.Image:
    """Return an RGB image of `HEIGHT` with a word over a patch of a photograph."""
    size = int(_OVERSAMPLING * HEIGHT * rng.uniform(0.55, 0.75))
    face = ImageFont.truetype(str(font), size)
    left, top, right, bottom = face.getbbox(word)
    margin = [int(side) for side in rng.uniform(0.08, 0.25, 4) * size]
    box = int(right - left) + margin[0] + margin[1], int(bottom - top) + margin[2] + margin[3]
    mask = Image.new('L', box)
    ImageDraw.Draw(mask).text((margin[0] - left, margin[2] - top), word, fill=255, font=face)
    mask = mask.rotate(float(rng.uniform(-TURN, TURN)), Image.Resampling.BICUBIC)
    width = max(8, round(box[0] * HEIGHT / box[1]))
    mask = mask.resize((width, HEIGHT), Image.Resampling.LANCZOS)
    mask = mask.filter(ImageFilter.GaussianBlur(float(rng.uniform(*BLUR))))
    background = _patch(photograph, (width, HEIGHT), rng)
    share = np.asarray(mask, float)[..., None] / 255
    pixels = background * (1 - share) + _color(background, rng) * share
    return Image.fromarray(pixels.clip(0, 255).round().astype(np.uint8))


def _patch(photograph: Path, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Return a random patch of a photograph, ``(H, W, 3)`` in 0..255, enlarged where that is too small."""
    with Image.open(photograph) as file:
        image = file.convert('RGB')
    factor = max(1.0, size[0] / image.width, size[1] / image.height)
    if factor > 1:
        image = image.resize((max(size[0], round(factor * image.width)), max(size[1], round(factor * image.height))),
                             Image.Resampling.BICUBIC)
    left, top = (int(rng.integers(whole - side + 1)) for whole, side in zip(image.size, size, strict=True))
    return np.asarray(image.crop((left, top, left + size[0], top + size[1])), float)


def _color(background: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a color whose luma differs from the background's mean by a contrast out of `CONTRAST`."""
    base = float((background @ _LUMA).mean())
    contrast = float(rng.uniform(*CONTRAST))
    up, down = 255 - base, base
    sign = 1 if up > contrast and (down <= contrast or rng.random() < 0.5) else -1
    target = min(max(base + sign * min(contrast, up if sign > 0 else down), 0.0), 255.0)
    tint = rng.uniform(-40, 40, 3)
    return np.clip(target + tint - tint @ _LUMA, 0, 255)


def _split(paths: Sequence[Path], where: str, what: str) -> tuple[list[Path], list[Path]]:
    """Return those for training, and each fourth, for the test."""
    if len(paths) < 2:
        raise DataError(f'{where}: expected two {what} or more, got {len(paths)}.')
    test = list(paths[1::4])
    return [path for path in paths if path not in set(test)], test


def _has_all(font: Path) -> bool:
    """Return whether letters and digits look different from each other, as they do not where a font lacks them."""
    try:
        face = ImageFont.truetype(str(font), 24)
    except OSError:
        return False
    characters = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789'
    shapes = set()
    for character in characters:
        image = Image.new('L', (32, 32))
        ImageDraw.Draw(image).text((2, 2), character, fill=255, font=face)
        shapes.add(image.tobytes())
    return len(shapes) > len(characters) - 8  # some fonts have small capitals, or one shape for O and 0


def _any(items: Sequence[Path], rng: np.random.Generator) -> Path:
    return items[int(rng.integers(len(items)))]
