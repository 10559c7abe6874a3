"""The first answer of a network that comes from anywhere: a wrong size, head or number of channels shows now."""
import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import nn

from ra_plugin.recognizers.base import Recognizer
from ra_plugin.utils.text import first_line


def first_answer(recognizer: Recognizer, ask: Callable[[], Any]) -> Any:
    """Return the network's answer to one image, or to its luma where it takes one channel.

    Args:
        recognizer: Its ``info.channels`` becomes 1 where the network takes one channel.
        ask: Calls the network.

    Raises:
        ValueError: It cannot take an image of its size.
    """
    height, width = recognizer.info.input_size or (64, 64)
    try:
        return ask()
    except Exception as error:  # of any network
        recognizer.info = replace(recognizer.info, channels=1)
        with contextlib.suppress(Exception):  # else it is not about channels
            return ask()
        recognizer.info = replace(recognizer.info, channels=3)
        raise ValueError(f'{recognizer}: cannot take a {height}x{width} image ({first_line(error)}). '
                         f'{_remedy(recognizer.model)}') from error


def _remedy(model: nn.Module) -> str:
    first = next((module for module in model.modules() if isinstance(module, nn.Conv2d)), None)
    if first is not None and first.in_channels not in (1, 3):
        return f'Its first layer takes {first.in_channels} channels; expected 3 (RGB) or 1 (luma).'
    return 'Set input_size.'
