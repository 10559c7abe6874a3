"""Import of ultralytics 8.4 without what it does to the rest of the process, to the user's folders and to the network.

Its first import looks up two addresses, writes a file of settings, replaces ``torch.save``, ``PIL.Image.open`` and, on
Windows, OpenCV's functions for files, sets how torch and numpy print numbers, turns off OpenCV's threads and sets
environment variables that processes started later would take over.
"""
import contextlib
import importlib.util
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from unittest import mock

import numpy as np
import torch
from PIL import Image
from torch import _tensor_str

# Read while it is imported: no look-up of addresses, and nothing that it misses is installed.
_OFF = {'YOLO_OFFLINE': 'true', 'YOLO_AUTOINSTALL': 'false'}


@contextlib.contextmanager
def importing_ultralytics() -> Iterator[None]:
    """Leave all as it was after an import of ultralytics within the context; its settings are those of a new user.

    Where it has been imported before, nothing is done: import it first where you use it, too, with settings of yours.
    """
    if 'ultralytics' in sys.modules or importlib.util.find_spec('ultralytics') is None:
        yield  # in the second case to an import that fails
        return
    import cv2  # ultralytics imports it, others of this package's users may not
    printing, threads = vars(_tensor_str.PRINT_OPTS).copy(), cv2.getNumThreads()
    kept = [(owner, name, getattr(owner, name)) for owner, name in (
        (torch, 'save'), (torch, 'load'), (Image, 'open'), (cv2, 'imread'), (cv2, 'imwrite'), (cv2, 'imshow'))]
    try:
        with (tempfile.TemporaryDirectory() as folder, mock.patch.dict(os.environ, {**_OFF, 'YOLO_CONFIG_DIR': folder}),
              np.printoptions(), warnings.catch_warnings()):
            yield
    finally:
        vars(_tensor_str.PRINT_OPTS).update(printing)
        for owner, name, function in kept:
            setattr(owner, name, function)
        cv2.setNumThreads(threads)
