"""Restorers of an evaluation: trained networks, or folders of restored images."""
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import nn

from ra_plugin.builders.blend import blended, shares
from ra_plugin.builders.networks import check_network
from ra_plugin.builders.run_networks import built_network, folder_of, last_weights, networks_of
from ra_plugin.evaluation.judging import Processing
from ra_plugin.evaluation.restored_folder import FolderOfImages
from ra_plugin.evaluation.restorer_network import Network
from ra_plugin.evaluation.used_recognizers import not_among, trained_with, used_names
from ra_plugin.metrics.gate import Gate
from ra_plugin.option_types import FilePath, NonNegative, Positive, WeightsPath
from ra_plugin.options import OptionError, build_block, check_type
from ra_plugin.shipped.find import shown_name
from ra_plugin.type_hints import Example, TypedBlock
from ra_plugin.utils.yaml_file import read_yaml

RestorerBlock = Annotated[
    Mapping, Example("{checkpoint: a restorer's file}, {option_file: a run's}, {network_g: ..., checkpoint: ...} or "
                     '{folder: restored images}')]


@dataclass(frozen=True, kw_only=True)
class RestorerOptions:
    """Keys of a restorer's block: one of ``option_file``, ``network_g`` and ``folder``, or ``checkpoint`` alone.

    Attributes:
        option_file: Option file of a finished run, for its networks and, without ``checkpoint``, their last weights.
        network_g: Block of a network, with ``checkpoint``, which `SpandrelNetwork` has within.
        network_t: Block of the transformer after it, if there is one; its weights are beside ``checkpoint``, as a run
            leaves them: ``net_t_*`` for ``net_g_*``.
        checkpoint: Weights of the network; a list has one file for each seed of the training. Alone, the file of any
            restorer that spandrel knows, see `SpandrelNetwork`.
        blend: In place of ``checkpoint``: weights of several networks of one architecture, whose mean is used. See
            ``ra-plugin blend --help`` for what is known of that.
        alpha: Share of the second of two in ``blend``. Default: equal shares.
        folder: Folder of images restored by any program, with the paths of the clean images below their folder, the
            ending aside; the names alone are enough where they differ. A list has a folder for each seed.
        suffix: End of the names in ``folder`` before the dot, after the clean image's name: ``_out``, ``_x4``. Default:
            none, or the one that all of them have.
        used: Recognizers of the evaluation that the training used. Default: with ``option_file``, those with the same
            network and weights as the recognizers of its losses.
        method: Name of the row in tables where one way of training was used with several recognizers. Default: the
            restorer's name.
        conditions: Names of the conditions it is for. Default: all.
        tile: Side in pixels of the parts that large images are restored in. Default: whole images.
        tile_overlap: Pixels added around each tile. The result is exact if it is at least the radius of
            the network's receptive field.
        multiple_of: Number that has to divide the network's input height and width: images are extended by their mirror
            image, and the result is cut. Default: 1; of an option file whose model class pads to the network's window,
            that window.
        mean, std: The network takes images that are normalized with them, RGB on the ``[0, 1]`` scale, and makes such
            ones. Default: those of the option file's data set.
        gate: ``noise`` or ``jpeg``, alone or with a threshold, ``noise:0.04``: images in which less noise or JPEG
            compression is found are taken as they are given; for networks of scale 1. Default: none.
    """
    option_file: FilePath | None = None
    network_g: TypedBlock | None = None
    network_t: TypedBlock | None = None
    checkpoint: WeightsPath | Sequence[WeightsPath] | None = None
    blend: Sequence[WeightsPath] | None = None
    alpha: float | None = None
    folder: FilePath | Sequence[FilePath] | None = None
    suffix: str | None = None
    used: Sequence[str] | None = None
    method: str | None = None
    conditions: Sequence[str] | None = None
    tile: Positive | None = None
    tile_overlap: NonNegative = 32
    multiple_of: Positive = 1
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    gate: str | None = None

    def __post_init__(self):
        if (self.mean is None) != (self.std is None) or self.mean is not None and self.std and (
                min(self.std) <= 0 or len(self.mean) != 3 or len(self.std) != 3):
            raise OptionError(f'expected mean and std, three numbers each, positive for std, got {self.mean} and '
                              f'{self.std}.')
        if self.blend is not None:
            shares(len(self.blend), self.alpha)
        elif self.alpha is not None:
            raise OptionError('alpha: it is the share of the second network in blend, and there is no blend.')
        if self.gate is not None:
            Gate.named(self.gate, 'gate')
            if self.folder:
                raise OptionError('it is for networks, and these images are restored already. Leave it out.', 'gate')


@dataclass(frozen=True)
class Restorer:
    """Way of restoring, with one processing for each seed.

    Attributes:
        name: Name in the option file.
        options: The complete block.
        processings: One for each seed.
    """

    name: str
    options: RestorerOptions
    processings: tuple[Processing, ...]

    def is_for(self, condition: str) -> bool:
        return self.options.conditions is None or condition in self.options.conditions

    @property
    def is_network(self) -> bool:
        return self.options.folder is None


def restorer_options(block: Any, root: Path, recognizers: Mapping[str, Mapping], where: str) -> RestorerOptions:
    """Check a restorer's block, without loading anything, and complete it from its run's option file.

    Raises:
        OptionError: The block is invalid.
        FileNotFoundError: The run's option file, weights or folder are missing.
    """
    check_type(block, RestorerBlock, where)
    options = build_block(RestorerOptions, block, where)
    sources = [key for key in ('option_file', 'network_g', 'folder') if block.get(key)]
    if len(sources) != 1 and (sources or not (options.checkpoint or options.blend)):
        raise OptionError(f'{where}: expected one of option_file, network_g and folder, or checkpoint or blend alone, '
                          f'got {" and ".join(sources) or "none"}.')
    if options.blend and (options.checkpoint or options.folder):
        raise OptionError(f'{where}.blend: it takes the place of checkpoint, and is for networks. Leave out '
                          f'{"folder" if options.folder else "checkpoint"}.')
    if not sources and options.network_t:
        raise OptionError(f'{where}.network_t: it goes with network_g or option_file, and there is neither.')
    if options.option_file:
        of_run = _keys_from_run(options.option_file, root, recognizers, where)
        options = build_block(RestorerOptions, {**of_run, **block}, where)
    for key in ('network_g', 'network_t'):
        if getattr(options, key):
            check_network(getattr(options, key), f'{where}.{key}')
    for name in options.used or ():
        if name not in recognizers:
            raise OptionError(f"{where}.used: no recognizer '{name}'. There are {', '.join(recognizers)}")
    for path in (*_listed(options.blend or options.checkpoint), *_listed(options.folder)):
        if not Path(path).exists():
            file = options.option_file
            hint = f' Train it first: ra-plugin train -opt {shown_name(file)}' if file else ''
            raise FileNotFoundError(f'{where}: {path} does not exist.{hint}')
    return options


def _keys_from_run(option_file: str, root: Path, recognizers: Mapping[str, Mapping], where: str) -> dict[str, Any]:
    """Return the keys of a restorer's block that a run's option file gives."""
    run = read_yaml(option_file, f'{where}.option_file')
    if not isinstance(run, Mapping) or not run.get('name') or not run.get('network_g'):
        raise OptionError(f"{where}.option_file: expected BasicSR's option file of a run, with name and network_g, got "
                          f'{option_file}.')
    folder = folder_of(run, root)
    return {**networks_of(run, root), 'checkpoint': str(last_weights(folder)),
            'used': used_names(trained_with(run, folder, root), recognizers)}


def unmatched_recognizers(restorers: Mapping[str, Mapping], root: Path,
                          recognizers: Mapping[str, Mapping]) -> dict[str, list[str]]:
    """Return, for each restorer that names a run and not ``used``, the recognizers of the run that do not judge.

    Where none of them does, nothing tells a recognizer that was used from one that was not: a line says so.

    Args:
        restorers: Blocks that `restorer_options` has checked, paths resolved.
        root: Folder of ``experiments``, where the runs are.
        recognizers: Name -> block of those that judge.
    """
    found = {}
    for name, block in restorers.items():
        if not block.get('option_file') or block.get('used') is not None:
            continue
        run = read_yaml(block['option_file'], f'restorers.{name}.option_file')
        used = trained_with(run, folder_of(run, root), root)
        others = not_among(used, recognizers)
        if others:
            found[name] = others
        if others and not used_names(used, recognizers):
            print(f'restorers.{name}: none of the recognizers judging was used in its training, which had '
                  f'{"; ".join(others)}: all count as held out. If one of them is the same, name it: used.',
                  file=sys.stderr, flush=True)
    return found


def _listed(value: str | Sequence[str] | None) -> list[str]:
    return [] if value is None else [value] if isinstance(value, str) else list(value)


def build_restorer(name: str, options: RestorerOptions, device: torch.device) -> Restorer:
    """Load its networks, or take its folders."""
    if options.folder:
        folders = _listed(options.folder)
        return Restorer(name, options, tuple(
            FolderOfImages(Path(folder), options.suffix, f'restorers.{name}.folder') for folder in folders))
    where, checkpoints = f'restorers.{name}', _listed(options.checkpoint) or [None]
    if options.network_g is None and (options.option_file or not (options.checkpoint or options.blend)):
        raise OptionError(f'{where}: expected a complete block, got neither folder nor network_g. Complete it with '
                          'restorer_options.')
    place = where if options.network_g is None else f'{where}.network_g'

    def network(checkpoint: str | None) -> nn.Module:
        return built_network(options.network_g, options.network_t, checkpoint, where,
                             'Recognizers judge color. Restore with it yourself, and name the folder of the results: '
                             'folder.')

    if options.blend:
        networks = [blended([network(file) for file in options.blend],
                            shares(len(options.blend), options.alpha), options.blend)]
    else:
        networks = [network(checkpoint) for checkpoint in checkpoints]
    gate = None if options.gate is None else Gate.named(options.gate, f'{where}.gate')
    return Restorer(name, options, tuple(
        Network(one.to(device), options.tile, options.tile_overlap, options.multiple_of, options.mean, options.std,
                place, gate) for one in networks))
