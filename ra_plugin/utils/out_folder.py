"""Check of the output folder, made before hours of work rather than after them."""
import os
from pathlib import Path

from ra_plugin.options import OptionError


def check_out_folder(folder: Path, where: str = '--out') -> None:
    """Check that a folder is writable or can be created; nothing is created.

    Raises:
        OptionError: The folder is not writable, or part of its path is not a folder.
    """
    place = Path(os.path.abspath(folder))
    while not os.path.lexists(place):
        place = place.parent
    if not place.is_dir():
        raise OptionError(f"{where}: expected a folder for results, got '{folder}', but '{place}' is not a "
                          'folder. Choose another one.')
    if not os.access(place, os.W_OK | os.X_OK):
        raise OptionError(f"{where}: expected a folder for results, got '{folder}', but '{place}' is not "
                          'writable. Choose another one, or change its permissions.')
