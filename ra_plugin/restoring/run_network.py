"""The network that the command line names: of a training, by name, folder or option file, or of a weights file."""
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ra_plugin.builders.fitted_network import FittedNetwork
from ra_plugin.builders.option_file import import_own
from ra_plugin.builders.run_networks import built_network, folder_of, last_weights, networks_of
from ra_plugin.options import OptionError
from ra_plugin.shipped.find import option_file, shown_name
from ra_plugin.utils.out_folder import from_here
from ra_plugin.utils.suggestions import suggestion
from ra_plugin.utils.yaml_file import read_yaml

_OPTIONS = ('.yml', '.yaml')
_COLOR = 'Photographs are restored in color.'


@dataclass(frozen=True)
class FoundNetwork:
    """Network that a command line names, before it is built.

    Attributes:
        weights: File of its weights.
        run: Options of the training; None for a file that no option file belongs to.
        keys: Those of `networks_of`.
    """

    weights: Path
    run: Mapping[str, Any] | None = None
    keys: Mapping[str, Any] = field(default_factory=dict)


def find_network(named: str, root: Path) -> FoundNetwork:
    """Return where the network of a run or a file is.

    Args:
        named: Name of a training below ``root/experiments``, its folder, its option file, or a weights file.
        root: Folder of ``experiments``.

    Raises:
        OptionError: There is no such run or file, or it has no weights.
    """
    path = Path(named)
    if path.is_file() and path.suffix.lower() not in _OPTIONS:
        file = _option_file_in(path.parent.parent) if path.parent.name == 'models' else None
        return _of_run(file, path, root) if file else FoundNetwork(path)
    for folder in (path, root / 'experiments' / named):
        if folder.is_dir():
            file = _option_file_in(folder)
            if file is None:
                raise OptionError(f"{named}: expected the folder of a training, got '{folder}' without an option file. "
                                  'Name one of experiments/, or an option file.')
            return _of_run(file, _last_weights(folder), root)
    file = option_file(named)
    if not file.is_file():
        known = sorted(folder.name for folder in (root / 'experiments').glob('*/') if folder.is_dir())
        raise OptionError(f"{named}: no training, option file or weights file of that name.{suggestion(named, known)} "
                          f'Trainings are looked up in {root / "experiments"}.')
    run = read_yaml(file, named)
    return _of_run(file, _last_weights(folder_of(_checked(run, file), root)), root)


def named_network(named: str, root: Path, machine: bool = False) -> FittedNetwork:
    """Build the network of a run or a file, for inference on the CPU.

    Args:
        named: See `find_network`.
        root: Folder of ``experiments``.
        machine: Run the transformer ``network_t`` after ``network_g``: for recognizers rather than people.

    Raises:
        OptionError: There is no such run or file, it has no weights or no transformer, or its network is not for
            color images.
        ValueError: The weights do not fit.
    """
    found = find_network(named, root)
    if found.run is None:
        if machine:
            raise OptionError(f'--machine: {found.weights} has no network_t, whose images are for recognizers. Name '
                              'the training that has one.')
        network = built_network(None, None, str(found.weights), str(found.weights), _COLOR)
        print(f'Network: that of {from_here(found.weights)}.', flush=True)
        return FittedNetwork(network, where=str(found.weights))
    keys, name = dict(found.keys), str(found.run['name'])
    network_g, network_t = keys.pop('network_g'), keys.pop('network_t')
    if machine and not network_t:
        raise OptionError(f'--machine: {named} has no network_t, whose images are for recognizers. Leave it out.')
    network = built_network(network_g, network_t if machine else None, str(found.weights), name, _COLOR)
    kinds = [block['type'] for block in (network_g, network_t if machine else None) if block]
    print(f'Network: {" and ".join(kinds)} of {from_here(found.weights)}.', flush=True)
    return FittedNetwork(network, **keys, where=name)


def _option_file_in(folder: Path) -> Path | None:
    """Return the option file that a training has left in its folder; the newest of several."""
    files = [file for ending in _OPTIONS for file in folder.glob(f'*{ending}')]
    return max(files, key=lambda file: file.stat().st_mtime, default=None)


def _last_weights(folder: Path) -> Path:
    """Return the file of the last weights that a training has saved, also one that was stopped."""
    latest = last_weights(folder)
    numbered = {int(file.stem[len('net_g_'):]): file for file in latest.parent.glob('net_g_*.pth')
                if file.stem[len('net_g_'):].isdecimal()}
    return numbered[max(numbered)] if numbered and not latest.exists() else latest


def _checked(run: Any, file: Path) -> Mapping[str, Any]:
    if not isinstance(run, Mapping) or not run.get('name') or not isinstance(run.get('network_g'), Mapping):
        raise OptionError(f"{file}: expected BasicSR's option file of a training, with name and network_g.")
    return run


def _of_run(file: Path, weights: Path, root: Path) -> FoundNetwork:
    run = _checked(read_yaml(file, str(file)), file)
    import_own(run)
    if not weights.is_file():
        raise OptionError(f'{file}: no weights {weights}. Train it first: ra-plugin train -opt {shown_name(file)}')
    return FoundNetwork(weights, run, networks_of(run, root))
