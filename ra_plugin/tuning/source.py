"""The restorer that is tuned: where its network comes from, for the option files of training and evaluation."""
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from torch import nn

from ra_plugin.archs import SpandrelNetwork
from ra_plugin.builders.networks import check_color, pads_to_window, trained_network
from ra_plugin.builders.run_networks import architectures
from ra_plugin.checkpoint import load_file
from ra_plugin.options import OptionError
from ra_plugin.restoring.run_network import named_weights, network_keys
from ra_plugin.state_dicts import candidates


@dataclass(frozen=True)
class Source:
    """Restorer that is tuned.

    Attributes:
        name: Name of the file without its ending, or of the training.
        file: File of its weights.
        network_g: Block of its network.
        scale: How much larger the restored images are.
        model_type: BasicSR's model class that trains it.
        network: The network itself, with its weights.
        run: Keys of a restorer's block that say how a training fed it.
        weights_key: Key of a training's weights in its file: those of the average where it has one.
    """

    name: str
    file: Path
    network_g: Mapping[str, Any]
    scale: int
    model_type: str
    network: nn.Module
    run: Mapping[str, Any] = field(default_factory=dict)
    weights_key: str | None = None

    @property
    def is_file_alone(self) -> bool:
        """True where spandrel found the network in the file."""
        return isinstance(self.network, SpandrelNetwork)

    @property
    def architecture(self) -> str:
        """Name of the network's architecture."""
        return architectures(self.network)[0]

    def restorer(self, file: Path) -> dict[str, Any]:
        """Return the block of a restorer with this network and the weights in a file."""
        return {'checkpoint': str(file)} if self.is_file_alone else {
            'network_g': dict(self.network_g), 'checkpoint': str(file), **self.run}

    def training(self) -> dict[str, Any]:
        """Return the keys of a training's option file that start it from this restorer."""
        path = {} if self.is_file_alone else {
            'pretrain_network_g': str(self.file), 'strict_load_g': True, 'param_key_g': self.weights_key}
        return {'model_type': self.model_type, 'scale': self.scale, 'network_g': dict(self.network_g), 'path': path}


def find_source(named: str, root: Path) -> Source:
    """Return the restorer that a command line names.

    Args:
        named: File that spandrel knows, or a training: its name below ``root/experiments``, its folder, its option
            file, or weights in its folder.
        root: Folder of ``experiments``.

    Raises:
        OptionError: There is none of that name, it has a transformer, takes normalized images or no color.
        ValueError: The weights do not fit.
    """
    found = named_weights(named, root)
    file = found.file.absolute()
    if found.run is None:
        block: dict[str, Any] = {'type': 'SpandrelNetwork', 'checkpoint': str(file)}
        network = trained_network(block, None, named)
        check_color(network, named, 'Recognizers see color: use a network for it.')
        return Source(file.stem, file, block, cast(SpandrelNetwork, network).scale, 'SRModel', network)
    keys = network_keys(found, root)
    if keys.pop('network_t'):
        raise OptionError(f'{named}: it has a network_t, which recognizers are given already. Tune a training without '
                          'one, or train network_t further with its own option file.')
    if keys.get('mean') is not None:
        raise OptionError(f'{named}: its network takes normalized images. Add recog_opt and recog_budget to its own '
                          'option file instead (docs/RESTORERS.md).')
    block = keys.pop('network_g')
    network = trained_network(block, str(file), named)
    check_color(network, named, 'Recognizers see color: use a network for it.')
    kind = 'SwinIRModel' if pads_to_window(found.run) and block.get('window_size') else 'SRModel'
    key = next(iter(candidates(load_file(file, named))))[0] or None
    return Source(str(found.run['name']), file, block, int(found.run.get('scale') or 1), kind, network, keys, key)
