"""The folder of a program's results: one that cannot be written shows before hours of work, not after them."""
import os
from pathlib import Path

from ra_plugin.options import OptionError


def check_out_folder(folder: Path, where: str = '--out') -> None:
    """Check that a folder is there and can be written, or can be made; nothing is made.

    Raises:
        OptionError: It cannot.
    """
    place = Path(os.path.abspath(folder))
    while not os.path.lexists(place):
        place = place.parent
    if not place.is_dir():
        raise OptionError(f"{where}: expected a folder to write results to, got '{folder}', and '{place}' is no "
                          'folder. Name another one.')
    if not os.access(place, os.W_OK | os.X_OK):
        raise OptionError(f"{where}: expected a folder to write results to, got '{folder}': '{place}' allows no "
                          'writing. Name another one, or allow it.')
