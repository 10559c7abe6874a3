"""The network that the command line names: of a training, by name, folder or option file, or of a weights file."""
from collections.abc import Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True)
class NamedWeights:
    """Weights that the command line names.

    Attributes:
        file: They are in it, if the training has begun.
        option_file: That of the training which they come from; None for a file of another program.
        run: What the option file says.
    """

    file: Path
    option_file: Path | None = None
    run: Mapping[str, Any] | None = None


def named_network(named: str, root: Path, machine: bool = False) -> FittedNetwork:
    """Build the network of a run or a file, for inference on the CPU.

    Args:
        named: Name of a training below ``root/experiments``, its folder, its option file, or a weights file.
        root: Folder of ``experiments``.
        machine: Run the transformer ``network_t`` after ``network_g``: for recognizers rather than people.

    Raises:
        OptionError: There is no such run or file, it has no weights or no transformer, or its network is not for
            color images.
        ValueError: The weights do not fit.
    """
    return network_with(named_weights(named, root), root, machine)


def named_weights(named: str, root: Path) -> NamedWeights:
    """Find the weights that `named_network` is called for.

    Raises:
        OptionError: There is no such run or file, or its option file is none of a training.
    """
    path = Path(named)
    if path.is_file() and path.suffix.lower() not in _OPTIONS:
        file = _option_file_in(path.parent.parent) if path.parent.name == 'models' else None
        return NamedWeights(path, file, _read(file)) if file else NamedWeights(path)
    for folder in (path, root / 'experiments' / named):
        if folder.is_dir():
            file = _option_file_in(folder)
            if file is None:
                raise OptionError(f"{named}: expected the folder of a training, got '{folder}' without an option file. "
                                  'Name one of experiments/, or an option file.')
            return NamedWeights(_last_weights(folder), file, _read(file))
    file = option_file(named)
    if not file.is_file():
        known = sorted(folder.name for folder in (root / 'experiments').glob('*/') if folder.is_dir())
        raise OptionError(f"{named}: no training, option file or weights file of that name.{suggestion(named, known)} "
                          f'Trainings are looked up in {root / "experiments"}.')
    run = _read(file)
    return NamedWeights(_last_weights(folder_of(run, root)), file, run)


def network_keys(weights: NamedWeights, root: Path) -> dict[str, Any]:
    """Return the keys of `networks_of` for the weights of a training.

    Raises:
        OptionError: There are no weights yet.
    """
    file, run = weights.option_file, weights.run
    assert file is not None and run is not None
    import_own(run)
    if not weights.file.is_file():
        raise OptionError(f'{file}: no weights {weights.file}. Train it first: ra-plugin train -opt {shown_name(file)}')
    return networks_of(run, root)


def network_with(weights: NamedWeights, root: Path, machine: bool = False,
                 remedy: str = 'Photographs are restored in color.') -> FittedNetwork:
    """Build the network that has the weights; see `named_network`.

    Args:
        weights: They.
        root: Folder of ``experiments``.
        machine: Run the transformer ``network_t`` after it.
        remedy: What to do with a network for images of one channel.
    """
    file, run = weights.option_file, weights.run
    if run is None or file is None:
        if machine:
            raise OptionError(f'--machine: {weights.file} has no network_t, whose images are for recognizers. Name the '
                              'training that has one.')
        network = built_network(None, None, str(weights.file), str(weights.file), remedy)
        print(f'Network: that of {from_here(weights.file)}.', flush=True)
        return FittedNetwork(network, where=str(weights.file))
    keys = network_keys(weights, root)
    if machine and not keys['network_t']:
        raise OptionError(f'--machine: {file} has no network_t, whose images are for recognizers. Leave it out.')
    network_g, network_t = keys.pop('network_g'), keys.pop('network_t')
    network = built_network(network_g, network_t if machine else None, str(weights.file), str(run['name']), remedy)
    kinds = [block['type'] for block in (network_g, network_t if machine else None) if block]
    print(f'Network: {" and ".join(kinds)} of {from_here(weights.file)}.', flush=True)
    return FittedNetwork(network, **keys, where=str(run['name']))


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


def _read(file: Path) -> Mapping[str, Any]:
    run = read_yaml(file, str(file))
    if not isinstance(run, Mapping) or not run.get('name') or not isinstance(run.get('network_g'), Mapping):
        raise OptionError(f"{file}: expected BasicSR's option file of a training, with name and network_g.")
    return run
