"""Blends of the networks that the command line names, written as a file."""
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ra_plugin.archs import save_restorer
from ra_plugin.builders.blend import averages_statistics, blended, shares
from ra_plugin.builders.run_networks import stages
from ra_plugin.options import OptionError
from ra_plugin.restoring.run_network import named_weights, network_with
from ra_plugin.utils.out_folder import check_out_file


def blend(named: Sequence[str], alpha: float | None, out: Path, overwrite: bool, root: Path) -> None:
    """Write a blend of networks.

    Args:
        named: Each as `named_network` takes it. A file that no option file belongs to is one of the network in the
            option file of the first training among them, if there is one.
        alpha: Share of the second of two; None: equal shares.
        out: File to write, which ends in ``.safetensors``.
        overwrite: It may be replaced.
        root: Folder of ``experiments``.

    Raises:
        OptionError: There is no such network, the networks are not alike, or the file cannot be written.
        ValueError: Weights do not fit.
    """
    parts = shares(len(named), alpha, '--alpha')
    if out.suffix != '.safetensors':
        raise OptionError(f"--out: expected a file that ends in .safetensors, got '{out}'.")
    files = [named_weights(name, root) for name in named]
    check_out_file(out, overwrite, [weights.file for weights in files])
    trained = next((weights for weights in files if weights.run is not None), None)
    if trained is not None:
        files = [weights if weights.run is not None else replace(trained, file=weights.file) for weights in files]
    networks = [network_with(weights, root, remedy='Networks for color are blended.').network for weights in files]
    network, = stages(blended(networks, parts, named))
    out.parent.mkdir(parents=True, exist_ok=True)
    save_restorer(network, out)
    if averages_statistics(network):
        print('Its running statistics of batch norm are the mean of theirs; those of the blended network itself would '
              'have to be measured. Evaluate it before you use it.', flush=True)
    print(', '.join(f'{part:.3g} of {name}' for part, name in zip(parts, named, strict=True)) + '.', flush=True)
