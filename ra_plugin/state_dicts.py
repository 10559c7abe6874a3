"""Search for a model's weights in a checkpoint: the key, and the prefix that a trainer put before the names.

Trainers save a network under names of their own: Lightning under the attribute of the training module
(``model.conv1.weight``), DDP and ``AveragedModel`` under ``module.``, and ``torch.compile``, Fabric and FSDP under
others. Nothing is guessed: a prefix is removed only if all weights of the model have it, and no other prefix fits.
"""
import warnings
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import torch
from torch import nn

# Keys under which programs save weights, averaged ones first, as in timm. mmengine's `ema_state_dict` is not among
# them: its hook swaps the two, so that it has the network before averaging.
WEIGHT_KEYS = ('params_ema', 'params', 'state_dict_ema', 'model_ema', 'state_dict', 'model_state_dict', 'model', 'net',
               'ema', 'g_ema', 'network', 'net_g', 'generator', 'weights', 'teacher', 'student', 'module')
_COUNTERS = ('n_averaged',)  # saved by torch.optim.swa_utils.AveragedModel beside the weights
# Names of wrappers within a path; no layer has such a name.
_SEGMENTS = ('_orig_mod.', '_forward_module.', '_fsdp_wrapped_module.', '_checkpoint_wrapped_module.')
_LISTED = 6  # names in a message

Weights = dict[str, torch.Tensor]


def candidates(content: Any) -> Iterator[tuple[str, Weights]]:
    """Yield the sets of weights in a checkpoint with their keys (``''`` for the checkpoint itself).

    Keys of `WEIGHT_KEYS` come first, in their order; then the checkpoint itself; then any other key with tensors.
    """
    if not isinstance(content, Mapping):
        return
    others = [key for key in content if key not in WEIGHT_KEYS]
    for key in (*WEIGHT_KEYS, None, *others):
        part = content if key is None else content.get(key)
        if not isinstance(part, Mapping):
            continue
        found = {name: value for name, value in part.items()
                 if isinstance(name, str) and isinstance(value, torch.Tensor)}
        if found:
            yield ('' if key is None else str(key)), found
        elif key in WEIGHT_KEYS:  # {'model': {'state_dict': ...}}
            yield from candidates(part)


def load_fitting(model: nn.Module, content: Any, path: str, where: str) -> None:
    """Load the set of weights in ``content`` that fits the model; all names and shapes have to match.

    Args:
        model: Model to load the weights into.
        content: Content of the file.
        path: The file, for messages.
        where: Name of the caller, for messages.

    Raises:
        ValueError: There are no weights; names are missing or unexpected, or shapes differ (the message lists them);
            several sets fit and none has a usual key; or the weights contain NaN, with which every prediction would
            be the same.
    """
    own = model.state_dict()
    found = list(candidates(content))
    if not found and (own or not isinstance(content, Mapping)):
        keys = list(content)[:8] if isinstance(content, Mapping) else type(content).__name__
        raise ValueError(f'{where}: {path} has no weights under {", ".join(WEIGHT_KEYS)}; found {keys}.')
    fitting = [(key, weights) for key, weights in found if _has_all_names(weights, own)]
    usual = [(key, weights) for key, weights in fitting if not key or key in WEIGHT_KEYS]
    if len(fitting) > 1 and not usual:
        raise ValueError(f'{where}: {path} has several sets of weights that fit the model: '
                         f'{", ".join(key for key, _ in fitting)}. Save only the right one: '
                         'torch.save(CONTENT[KEY], NEW_FILE).')
    weights = next((weights for _, weights in (*usual, *fitting, *found)), {})
    fitting_ones = fit(weights, own, path, where)
    broken = [name for name, value in model.state_dict(keep_vars=True).items() if isinstance(value, nn.Parameter)
              and name in fitting_ones and fitting_ones[name].isnan().any()]
    if broken:
        raise ValueError(f'{where}: {path} contains NaN: {listed("with NaN", broken)}. Its training diverged: use an '
                         'earlier checkpoint.')
    model.load_state_dict(fitting_ones)


def fit(weights: Mapping[str, torch.Tensor], own: Mapping[str, torch.Tensor], path: str, where: str,
        model: str = 'the model') -> Weights:
    """Return ``weights`` under the model's own names; all names and shapes have to match.

    Args:
        weights: Tensors by their names in the file.
        own: The model's ``state_dict()``. Batch norm's ``num_batches_tracked`` may be missing in the file, as in
            older files of torchvision: nothing is computed from it.
        path: The file, for messages.
        where: Name of the caller, for messages.
        model: Name of the model, for messages.

    Raises:
        ValueError: Names are missing or unexpected, or shapes differ (the message lists them); or the file contains
            the whole model under two prefixes.
    """
    weights, names = _without_wrappers(weights), _own_names(own)
    found = _prefixes(weights, names)
    if len(found) > 1:
        shaped = [prefix for prefix in found if not _other_shapes(weights, own, names, prefix)]
        found = shaped if len(shaped) == 1 else found
    if len(found) > 1:
        raise ValueError(f'{where}: {path} contains the model {len(found)} times, under '
                         f'{" and ".join(map(repr, found))}. Save the weights of only one: '
                         'torch.save(module.ATTRIBUTE.state_dict(), NEW_FILE).')
    prefix = found[0] if found else likely_prefix(weights, names)
    inside = {name[len(prefix):]: value for name, value in weights.items() if name.startswith(prefix)}
    beside = [name for name in weights if not name.startswith(prefix)]
    if not prefix:
        inside = {name: value for name, value in inside.items() if name in names or name not in _COUNTERS}
    problems = [
        listed('missing', [f'{prefix}{name}' for name in _needed(names) if name not in inside]),
        listed('unexpected', [f'{prefix}{name}' for name in inside if name not in names]),
        listed('of another shape', _other_shapes(weights, own, names, prefix))]
    if any(problems):
        raise ValueError(f'{where}: {path} does not fit {model}: {"; ".join(filter(None, problems))}.')
    beside = [name for name in beside if name.rpartition('.')[2] not in _COUNTERS]
    if beside:
        warnings.warn(f"{where}: {path}: the weights under '{prefix}' are used; {listed('ignored', beside)}.",
                      stacklevel=2)
    return {names[name]: value for name, value in inside.items()}


def unwrapped(weights: Mapping[str, torch.Tensor], own: Collection[str]) -> Weights:
    """Return ``weights`` without the prefix that most of the model's names have in them; no name has to match.

    For loaders that rename the parameters of older library versions, and for weights that fit only in part.
    """
    weights, names = _without_wrappers(weights), _own_names(own)
    prefix = likely_prefix(weights, names)
    return {names.get(name, name): value for name, value in (
        (name.removeprefix(prefix), value) for name, value in weights.items() if name not in _COUNTERS)}


def spellings(weights: Mapping[str, torch.Tensor]) -> Iterator[Weights]:
    """Yield ``weights`` as they are named, without wrappers, and without the prefix that all names have, each once."""
    yield dict(weights)
    bare = _without_wrappers(weights)
    if list(bare) != list(weights):
        yield bare
    prefixes = {name.partition('.')[0] for name in bare}
    if len(prefixes) == 1 and all('.' in name for name in bare):
        yield from spellings({name.partition('.')[2]: value for name, value in bare.items()})


def likely_prefix(weights: Collection[str], names: Collection[str]) -> str:
    """Return the prefix with which most of ``names`` occur in ``weights``."""
    counted = Counter({'': sum(name in weights for name in names)})
    of_last = {}
    for name in names:
        of_last.setdefault(name.rpartition('.')[2], []).append(name)
    for path in weights:
        for name in of_last.get(path.rpartition('.')[2], ()):
            if path.endswith('.' + name):
                counted[path[:-len(name)]] += 1
    return counted.most_common(1)[0][0]


def listed(what: str, keys: list[str], most: int = _LISTED) -> str:
    """Return a text with the number of keys that are ``what`` and the first of them; an empty text for none."""
    more = f' and {len(keys) - most} more' if len(keys) > most else ''
    return f'{len(keys)} keys {what}: {", ".join(keys[:most])}{more}' if keys else ''


def _has_all_names(weights: Weights, own: Mapping[str, torch.Tensor]) -> bool:
    return bool(_prefixes(_without_wrappers(weights), _own_names(own)))


def _prefixes(weights: Collection[str], names: Collection[str]) -> list[str]:
    """Return the prefixes with which all names of the model occur."""
    needed = _needed(names)
    if not needed:
        return []
    anchor = max(needed, key=len)
    ends = [path[:-len(anchor)] for path in weights if path == anchor or path.endswith('.' + anchor)]
    return [prefix for prefix in ends if all(prefix + name in weights for name in needed)]


def _needed(names: Collection[str]) -> list[str]:
    return [name for name in names if not name.endswith('num_batches_tracked')]


def _other_shapes(weights: Mapping, own: Mapping, names: Mapping[str, str], prefix: str) -> list[str]:
    pairs = ((prefix + name, own[given]) for name, given in names.items())
    return [f'{path} (file {tuple(weights[path].shape)}, model {tuple(value.shape)})' for path, value in pairs
            if path in weights and weights[path].shape != value.shape]


def _own_names(own: Collection[str]) -> dict[str, str]:
    """Return a mapping from the model's names without wrappers to its real names."""
    return dict(zip(_without_wrappers(dict.fromkeys(own)), own, strict=True))


def _without_wrappers(weights: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``weights`` with the wrappers' segments removed from the names; unchanged if two names would collide."""
    renamed = {}
    for name, value in weights.items():
        for segment in _SEGMENTS:
            name = ''.join(name.split(segment)) if f'.{segment}' in f'.{name}' else name
        renamed[name] = value
    return renamed if len(renamed) == len(weights) else dict(weights)
