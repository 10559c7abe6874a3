"""Write the reference of all options from the dataclasses and signatures that check them.

    python -m dev.option_reference > docs/OPTIONS.md
"""
import collections.abc
import inspect
import re
import typing
from collections.abc import Callable, Collection, Iterator
from typing import Annotated, Any

from torch import nn

from dev.program_reference import program_sections
from ra_plugin.basicsr import REGISTERED, registry
from ra_plugin.builders.own_keys import BLOCKS, recognition_losses
from ra_plugin.data.degraded_image_dataset import LoaderOptions
from ra_plugin.data.labeled_image_dataset import IOBackend
from ra_plugin.data.with_labels import LabelOptions
from ra_plugin.degradations.high_order.options import Stage
from ra_plugin.evaluation.options import EvaluationOptions
from ra_plugin.evaluation.restorers import RestorerOptions
from ra_plugin.metrics.pyiqa_metrics import PyiqaOptions
from ra_plugin.models.anchor import AnchorOptions
from ra_plugin.models.recog_budget import BudgetOptions
from ra_plugin.option_types import LabelsPath, Names, WeightsPath
from ra_plugin.options import Limits, option_hints
from ra_plugin.registry import DEGRADATION_REGISTRY, RECOGNIZER_REGISTRY, Registry
from ra_plugin.type_hints import in_words, is_union
from ra_plugin.utils.text import one_line

HEAD = '''# Option reference

Made by `python -m dev.option_reference` from the annotations that options are checked against, from their docstrings,
and from the flags of the commands. Every key that is not here, and that BasicSR does not read either, is refused with
the nearest one that is.

**Paths.** Only text under a key of one of these types is taken for a path, however the key is spelled. A relative path
is looked up in the current folder, then below the root (of outputs and data), then among the files that the package
brings. `~` is the home folder. An address (`https://...`, `hf-hub:OWNER/NAME`) stays as it is.

| type | relative text that names no file |
|---|---|
| path | is a path below the root |
| path or name | is a path below the root if it has the ending of such a file: weights {weights}; labels {labels}; \
configs none. Else it is a name, e.g. of a config of an installed package, and stays as it is |
| folder to write | is a folder in the current folder |

A class of your own says so in the same way: `from ra_plugin.option_types import FilePath, WeightsPath`, or
`pathlib.Path`; text that is annotated as `str` is never changed.
'''


def reference() -> str:
    """Return the reference in Markdown."""
    head = HEAD.format(weights=_endings(WeightsPath), labels=_endings(LabelsPath))
    return '\n'.join([head, *(text for heading, blocks, sections in parts()
                              for text in (f'## {heading}\n', f'{blocks}\n', *sections))])


def parts() -> Iterator[tuple[str, str, list[str]]]:
    """Yield the heading of each part, which blocks it is about, and its sections."""
    yield 'Training and test files', 'Keys beside those of BasicSR.', [
        *(section(f'`{".".join(place)}`' if place else 'Top level', cls) for place, cls in BLOCKS.items()),
        section('`train.recog_budget`', BudgetOptions), section('`train.anchor_opt`', AnchorOptions)]
    yield 'Recognition losses', 'Blocks of `train.recog_opt`.', [
        section(f'`{name}`', cls) for name, cls in sorted(recognition_losses().items())
        if cls.__module__.startswith('ra_plugin.')]
    yield 'Recognizers', ('Blocks of `recognizer` in a loss, of `val.recognizers`, and of `recognizers` in an '
                          'evaluation.'), [section(f'`{name}`', RECOGNIZER_REGISTRY.find(name))
                                           for name in ours(RECOGNIZER_REGISTRY)]
    yield 'Data sets', 'Blocks of `datasets`.', [
        section('Keys of every data set of this package: loading', LoaderOptions, but=('type', 'phase')),
        *(section(f'`{cls.__name__}`', cls.options_type, cls, but=set(option_hints(LoaderOptions)))
          for cls in REGISTERED[registry.DATASET_REGISTRY]),
        section('`io_backend`', IOBackend), section("Labels for BasicSR's own data sets", LabelOptions)]
    yield 'Degradations', 'Blocks of `degradation` in a data set, and of `degradations` in an evaluation.', [
        *(section(f'`{name}`', DEGRADATION_REGISTRY.find(name)) for name in ours(DEGRADATION_REGISTRY)),
        section('Blocks of `first` and `second` in `HighOrderDegradation`', Stage)]
    yield 'Networks', 'Blocks of `network_g` and `network_t`, beside those of BasicSR.', [
        section(f'`{cls.__name__}`', cls) for cls in REGISTERED[registry.ARCH_REGISTRY]]
    yield 'Evaluations', 'The option file of an evaluation, see `docs/EVALUATION.md`.', [
        section('Top level', EvaluationOptions), section('Blocks of `restorers`', RestorerOptions),
        section('Blocks of `quality_metrics`, for any metric of pyiqa', PyiqaOptions)]
    yield 'Programs', ('The flags of each command, as its `--help` has them. The settings of `sweep`, `boundary`, '
                       '`survey` and `doctor` are flags alone.'), program_sections()


def section(title: str, cls: Callable, described: type | None = None, but: Collection[str] = ()) -> str:
    """Return a heading, what is built, and a table of its keys.

    Args:
        title: The heading.
        cls: What takes the keys: a class with a constructor, a dataclass, or a TypedDict.
        described: The class whose docstring says what is built. Default: ``cls``.
        but: Keys to leave out.
    """
    summary = inspect.getdoc(described or cls).split('\n\n')[0]
    rows = [row(key, *facts) for key, *facts in keys_of(cls) if key not in but]
    table = ['| key | type | default | meaning |', '|---|---|---|---|', *rows] if rows else []
    return '\n'.join([f'### {title}\n', f'{plain(summary)}\n', *table, ''])


def keys_of(cls: Callable) -> Iterator[tuple[str, Any, Any, str]]:
    """Yield each key with its annotation, its default (``inspect.Parameter.empty``: none) and its meaning."""
    hints, meanings = option_hints(cls), meanings_of(cls)
    parameters = {} if typing.is_typeddict(cls) else inspect.signature(cls).parameters
    for key in parameters or hints:
        yield key, hints.get(key, Any), parameters[key].default if parameters else None, meanings.get(key, '')


def meanings_of(cls: Callable) -> dict[str, str]:
    """Return what the docstrings of a class and its bases say of each key, under Args or Attributes."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        for block in re.findall(r'(?:Args|Attributes):\n((?: {4,}.*\n?)+)', inspect.getdoc(base) or ''):
            for keys, text in re.findall(r'^ {4}(\w+(?:, \w+)*): (.*(?:\n {5,}.*)*)', block, re.M):
                found.update(dict.fromkeys(keys.split(', '), plain(text)))
    return found


def plain(text: str) -> str:
    """Return text of a docstring as Markdown in one line."""
    text = re.sub(r':\w+:`~?([^`]+)`', r'`\1`', text.replace('``', '`'))
    return one_line(text)


def row(key: str, hint: Any, default: Any, meaning: str) -> str:
    """Return a row of a table; a default that the meaning repeats is left out of that."""
    shown = 'required' if default is inspect.Parameter.empty else f'`{in_yaml(default)}`'
    for said in {shown, shown.strip('`'), f'`{str(default)!r}`', str(default)}:
        meaning = meaning.removesuffix(f' Default: {said}.')
    cells = (f'`{key}`', in_short(hint), shown, meaning)
    return f'| {" | ".join(cell.replace("|", chr(92) + "|") for cell in cells)} |'


def in_yaml(value: Any) -> str:
    """Return a default as an option file has it."""
    if value is None:
        return '~'
    if isinstance(value, bool):
        return str(value).lower()
    if value == '':
        return "''"
    if isinstance(value, (list, tuple)):
        return f'[{", ".join(map(in_yaml, value))}]'
    return str(value) if not isinstance(value, type) and not repr(value).startswith('<') else '{}'


def in_short(hint: Any) -> str:
    """Return an annotation in a few words; objects that Python code alone can give are left out."""
    if is_union(hint):
        options = [in_short(option) for option in typing.get_args(hint) if not _is_of_python(option)]
        return ' or '.join(dict.fromkeys(options))
    if typing.get_origin(hint) is Annotated:
        base, *notes = typing.get_args(hint)
        return ' '.join([in_short(base), *(extra for note in notes for extra in [_extra(note)] if extra)]) if (
            not isinstance(notes[0], Names)) else _path(notes[0])
    if hint is type(None):
        return '`~`'
    if typing.get_origin(hint) is typing.Literal:
        return ', '.join(f'`{option}`' for option in typing.get_args(hint))
    if typing.get_origin(hint) in (collections.abc.Sequence, list):
        return 'list of ' + re.sub(r'\b(number|path|block|name)\b', r'\1s', in_short(typing.get_args(hint)[0]))
    if typing.get_origin(hint) is collections.abc.Mapping and typing.get_args(hint)[1] is not Any:
        return f'name -> {in_short(typing.get_args(hint)[1])}'
    return in_words(hint).removeprefix('a ')


def _is_of_python(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, nn.Module)


def _extra(note: Any) -> str:
    if isinstance(note, Limits):
        return str(note)
    return f'({note.kind})' if hasattr(note, 'kind') else ''


def _endings(hint: Any) -> str:
    return ' '.join(f'`{ending}`' for ending in typing.get_args(hint)[1].else_name_unless)


def _path(names: Names) -> str:
    if names.what == 'module':
        return 'dotted name'
    return 'folder to write' if names.is_made else 'path' if names.else_name_unless is None else 'path or name'


def ours(registry: Registry) -> list[str]:
    """Return the names of what this package itself has registered."""
    return [name for name in registry if registry.find(name).__module__.startswith('ra_plugin.')]


if __name__ == '__main__':
    print(reference(), end='')
