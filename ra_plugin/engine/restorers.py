"""Restorers of an evaluation: trained networks, whole or tile by tile, or folders of images that anything has made."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import nn

from ra_plugin.data.image_file import read_image
from ra_plugin.engine.networks import check_network, trained_network
from ra_plugin.evaluation.judging import Batch, Processing
from ra_plugin.options import OptionError, check_arguments
from ra_plugin.recognizers.trainable import frozen
from ra_plugin.utils.tensors import extended

_SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff', '.webp')


@dataclass(frozen=True, kw_only=True)
class RestorerOptions:
    """The keys of a restorer's block; it has one of ``option_file``, ``network_g`` and ``folder``.

    Attributes:
        option_file: Of a finished run: its networks, and where ``checkpoint`` is missing, their last weights.
        network_g: Block of a network, with ``checkpoint``.
        network_t: The transformer after it, if there is one; its weights are beside ``checkpoint``, as a run leaves
            them: ``net_t_*`` for ``net_g_*``.
        checkpoint: Weights of the network; a list has one for each seed of the training.
        folder: Images restored by anything, named as the clean ones but for the suffix; a list has a folder for each
            seed. Below it may be the same folders as below the data set's.
        used: Recognizers of the evaluation that the training used. Default: of an option file, those whose blocks are
            the same.
        method: Name of the row in tables where one way of training was used with several recognizers. Default: the
            restorer's name.
        conditions: Names of the conditions it is for. Default: all.
        tile: Side in pixels of the parts that large images are restored in. Default: whole images.
        tile_overlap: Pixels that a tile sees beyond its border; no less than the network sees makes it exact.
        multiple_of: The network takes heights and widths that this number divides: images are extended by their mirror
            image, and the result is cut.
    """
    option_file: str | None = None
    network_g: Mapping | None = None
    network_t: Mapping | None = None
    checkpoint: str | Sequence[str] | None = None
    folder: str | Sequence[str] | None = None
    used: Sequence[str] | None = None
    method: str | None = None
    conditions: Sequence[str] | None = None
    tile: int | None = None
    tile_overlap: int = 32
    multiple_of: int = 1


@dataclass(frozen=True)
class Restorer:
    """A way of restoring, with one processing for each seed.

    Attributes:
        name: As in the option file.
        options: Its block, complete.
        processings: One for each seed.
        files: What the images depend on: weights, or folders.
    """

    name: str
    options: RestorerOptions
    processings: tuple[Processing, ...]
    files: tuple[str, ...]

    def is_for(self, condition: str) -> bool:
        return self.options.conditions is None or condition in self.options.conditions

    @property
    def is_network(self) -> bool:
        return self.options.folder is None


def restorer_options(block: Any, root: Path, recognizers: Mapping[str, Mapping], where: str) -> RestorerOptions:
    """Check a restorer's block, without loading anything, and complete it from its run's option file.

    Raises:
        OptionError: The block cannot be meant.
        FileNotFoundError: The run's option file, weights or folder are missing.
    """
    if not isinstance(block, Mapping):
        raise OptionError(f'{where}: expected a block, got {block!r}. Write e.g. {{option_file: ...}}.')
    check_arguments(RestorerOptions, block, where)
    sources = [key for key in ('option_file', 'network_g', 'folder') if block.get(key)]
    if len(sources) != 1:
        raise OptionError(f'{where}: expected one of option_file, network_g and folder, got '
                          f'{" and ".join(sources) or "none"}.')
    options = RestorerOptions(**block)
    if options.option_file:
        options = RestorerOptions(**{**_of_run(options, root, recognizers, where), **block})
    for key, least in (('tile', 1), ('tile_overlap', 0), ('multiple_of', 1)):
        value = getattr(options, key)
        if value is not None and value < least:
            raise OptionError(f'{where}.{key}: expected {least} or more, got {value}.')
    for key in ('network_g', 'network_t'):
        if getattr(options, key):
            check_network(getattr(options, key), f'{where}.{key}')
    for name in options.used or ():
        if name not in recognizers:
            raise OptionError(f"{where}.used: no recognizer '{name}'. There are {', '.join(recognizers)}")
    for path in (*_listed(options.checkpoint), *_listed(options.folder)):
        if not Path(path).exists():
            hint = ' Train it first: python tools/train.py -opt ' + options.option_file if options.option_file else ''
            raise FileNotFoundError(f'{where}: {path} does not exist.{hint}')
    return options


def _of_run(options: RestorerOptions, root: Path, recognizers: Mapping[str, Mapping], where: str) -> dict[str, Any]:
    """What the option file of a run says of its networks and of the recognizers that it used."""
    run = yaml.safe_load(Path(options.option_file).read_text())
    if not isinstance(run, Mapping) or not run.get('name') or not run.get('network_g'):
        raise OptionError(f"{where}.option_file: expected BasicSR's option file of a run, with name and network_g, got "
                          f'{options.option_file}.')
    blocks = (run.get('train') or {}).get('recog_opt') or []
    seen = [frozen(block.get('recognizer')) for block in (blocks if isinstance(blocks, list) else [blocks])]
    members = [member for block in seen if isinstance(block, Mapping)
               for member in (block, *(block.get('recognizers') or ()))]
    return {'network_g': run['network_g'], 'network_t': run.get('network_t'),
            'checkpoint': str(root / 'experiments' / str(run['name']) / 'models' / 'net_g_latest.pth'),
            'used': [name for name, block in recognizers.items() if block in members]}


def _listed(value: str | Sequence[str] | None) -> list[str]:
    return [] if value is None else [value] if isinstance(value, str) else list(value)


def build_restorer(name: str, options: RestorerOptions, device: torch.device) -> Restorer:
    """Load its networks, or take its folders."""
    if options.folder:
        folders = _listed(options.folder)
        return Restorer(name, options, tuple(FolderOfImages(Path(folder)) for folder in folders), tuple(folders))
    where, checkpoints = f'restorers.{name}', _listed(options.checkpoint) or [None]
    processings, files = [], []
    for checkpoint in checkpoints:
        networks = [trained_network(options.network_g, checkpoint, f'{where}.network_g')]
        if options.network_t:
            path = Path(checkpoint or '')
            beside = path.with_name(path.name.replace('net_g_', 'net_t_', 1))
            if beside == path:
                raise OptionError(f'{where}.checkpoint: expected a file named net_g_*, with net_t_* beside it for '
                                  f'network_t, got {path.name}.')
            networks.append(trained_network(options.network_t, str(beside), f'{where}.network_t'))
            files.append(str(beside))
        network = nn.Sequential(*networks).to(device, memory_format=torch.channels_last)  # faster on a CPU
        processings.append(Network(network, options.tile, options.tile_overlap, options.multiple_of))
        files += [checkpoint] if checkpoint else []
    return Restorer(name, options, tuple(processings), tuple(files))


class Network:
    """The images that a network makes of the degraded ones.

    Args:
        network: ``(N, 3, h, w)`` to ``(N, 3, s * h, s * w)``.
        tile: As in `RestorerOptions`, like the others.
    """

    def __init__(self, network: nn.Module, tile: int | None = None, tile_overlap: int = 32, multiple_of: int = 1):
        self.network, self.tile, self.overlap, self.multiple_of = network, tile, tile_overlap, multiple_of

    def __call__(self, batch: Batch) -> torch.Tensor:
        height, width = batch.lq.shape[-2:]
        if self.tile is None or max(height, width) <= self.tile:
            return self._run(batch.lq)
        rows = []
        for top in range(0, height, self.tile):
            rows.append(torch.cat([self._tile(batch.lq, top, left) for left in range(0, width, self.tile)], -1))
        return torch.cat(rows, -2)

    def _tile(self, images: torch.Tensor, top: int, left: int) -> torch.Tensor:
        """One tile, restored with what is around it and cut out."""
        height, width = images.shape[-2:]
        above, before = max(top - self.overlap, 0), max(left - self.overlap, 0)
        bottom, right = min(top + self.tile, height), min(left + self.tile, width)
        part = images[..., above:bottom + self.overlap, before:right + self.overlap]
        restored = self._run(part)
        scale = restored.shape[-1] // part.shape[-1]
        return restored[..., scale * (top - above):scale * (bottom - above),
                        scale * (left - before):scale * (right - before)]

    def _run(self, images: torch.Tensor) -> torch.Tensor:
        height, width = images.shape[-2:]
        padded = extended(images, self.multiple_of)
        restored = self.network(padded)
        scale = restored.shape[-1] // padded.shape[-1]
        return restored[..., :scale * height, :scale * width]


class FolderOfImages:
    """Images that something else has restored, found by the name of the clean one below its own folder, or alone."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __call__(self, batch: Batch) -> torch.Tensor:
        arrays = np.stack([np.asarray(read_image(str(self._file(name)))) for name in batch.names])
        return torch.from_numpy(arrays).permute(0, 3, 1, 2).to(batch.lq) / 255

    def _file(self, name: str) -> Path:
        for place in (self.folder / name, self.folder / Path(name).name):
            for suffix in _SUFFIXES:
                file = place.with_suffix(suffix)
                if file.is_file():
                    return file
        raise FileNotFoundError(f'{self.folder}: no restored image of {name} with any of {", ".join(_SUFFIXES)}.')
