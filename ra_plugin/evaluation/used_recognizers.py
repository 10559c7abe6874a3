"""The recognizers of an evaluation that a training has used, matched by their networks and weights."""
import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ra_plugin.builders.block_classes import class_of, hints_within
from ra_plugin.builders.identity import members, same_network
from ra_plugin.builders.option_paths import resolve_paths
from ra_plugin.option_types import named_by
from ra_plugin.recognizers.trainable import frozen, is_trainable


def trained_with(run: Mapping[str, Any], folder: Path, root: Path) -> list[Mapping]:
    """Return the blocks of the single recognizers in a run's losses, those of ensembles at any depth among them.

    Args:
        run: Its option file.
        folder: Folder of its results. A trained recognizer is there, and also counts with its first weights.
        root: Relative paths in the file are looked up below it, too.
    """
    blocks = copy.deepcopy((run.get('train') or {}).get('recog_opt') or [])
    recognizers = [block.get('recognizer') for block in (blocks if isinstance(blocks, list) else [blocks])
                   if isinstance(block, Mapping)]
    learned = str(folder / 'models' / 'net_r_latest.pth')
    found = [member for block in recognizers for member in members(frozen(block))]
    found += [{**frozen(block), 'checkpoint': learned} for block in recognizers if is_trainable(block)]
    resolve_paths(found, root)
    return found


def used_names(used: Sequence[Mapping], recognizers: Mapping[str, Mapping]) -> list[str]:
    """Return the names of the recognizers that have a network of ``used``; ensembles where one of theirs is."""
    return [name for name, block in recognizers.items()
            if any(same_network(member, other) for member in members(block) for other in used)]


def not_among(used: Sequence[Mapping], recognizers: Mapping[str, Mapping]) -> list[str]:
    """Return those of ``used``, in words, that no recognizer of an evaluation is."""
    judges = [member for block in recognizers.values() for member in members(block)]
    return list(dict.fromkeys(_in_words(block) for block in used
                              if not any(same_network(block, judge) for judge in judges)))


def _in_words(block: Mapping) -> str:
    """Return e.g. ``ModuleRecognizer TinyVGG (cifar10_vgg.safetensors)``."""
    keys = getattr(class_of(block), 'options_of_name', ())
    weights = f'({Path(str(block["checkpoint"])).name})' if block.get('checkpoint') else ''
    words = [str(block.get('type')), next((_short(block, key) for key in keys if block.get(key)), ''), weights]
    return ' '.join(filter(None, words))


def _short(block: Mapping, key: str) -> str:
    """Return the value of a key: of a module its name, of a file or folder its own, and all else as it is."""
    value = block[key]
    text = ' '.join(map(str, value)) if isinstance(value, (list, tuple)) else str(value).removeprefix('local-dir:')
    names = named_by(hints_within(block).get(key), value)
    if names is not None and names.what == 'module':
        return text.rpartition('.')[2]
    return Path(text).name if Path(text).is_absolute() else text
