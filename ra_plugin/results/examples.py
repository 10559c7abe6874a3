"""Example images: the image after each way of processing, and the answers of the recognizers to it."""
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np


@dataclass(frozen=True)
class Answer:
    """Answer of a recognizer to one image."""

    text: str  # 'cat', '3 cars, 1 bus'
    right: bool | None  # None where a prediction is not simply right or wrong
    overlay: np.ndarray | None = None  # (H, W, 3) uint8: the image with boxes or masks drawn in; None for classifiers


@dataclass(frozen=True)
class Example:
    """One image of a condition, and the rule that chose it."""

    condition: str
    index: int  # within the data set
    rule: str  # 'plain wrong, RA right'
    kind: Literal['helped', 'hurt', 'any']
    restorer: str  # whom the rule is about; '' for any
    recognizer: str
    truth: str  # the label in words
    images: Mapping[str, np.ndarray]  # processing -> (H, W, 3) uint8
    answers: Mapping[str, Mapping[str, Answer]]  # processing -> recognizer -> answer
    name: str = ''  # of the file, below the data set's folder
