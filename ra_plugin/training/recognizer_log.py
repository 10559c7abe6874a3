"""Log lines about the recognizers of a run: their use, weights and input size."""
from collections.abc import Iterator, Mapping
from typing import Any

from ra_plugin.models.recog_aware_model import numbered, recog_blocks
from ra_plugin.recognizers import Recognizer

Size = tuple[int, int]  # (height, width)


def recognizer_lines(model: Any, opt: Mapping[str, Any]) -> Iterator[str]:
    """Yield one line per recognizer in the losses and the validation of a model, and per member of an ensemble.

    Args:
        model: Model built from ``opt``.
        opt: The parsed option file.
    """
    crop = crop_size((opt.get('datasets') or {}).get('train') or {})
    losses: Any = getattr(model, 'cri_recog', None) or ()
    blocks = numbered(recog_blocks(opt.get('train') or {})) if opt.get('is_train') else []
    for (place, block), loss in zip(blocks, losses, strict=True):
        for member in loss.recognizer.members():
            learns = ', trained with the restorer' if member.trainable else ''
            yield (f'{place}: {block["type"]} of weight {loss.loss_weight:g} on {member}{learns}: '
                   f'{weights_of(member)}; {size_seen(member, crop)}.')
    for name, judge in (getattr(model, 'eval_recognizers', None) or {}).items():
        for member in judge.members():
            yield f'val.recognizers.{name}: {member}: {weights_of(member)}; {size_seen(member, None)}.'


def crop_size(dataset_opt: Mapping[str, Any]) -> Size | None:
    """Return the size of the crops in a training set's block; None for whole images."""
    crop = dataset_opt.get('crop_size') or dataset_opt.get('gt_size')  # ours or BasicSR's
    if not crop:
        return None
    return (crop, crop) if isinstance(crop, int) else (crop[0], crop[1])


def weights_of(recognizer: Recognizer) -> str:
    """Return a text with the source of a recognizer's weights."""
    source = recognizer.info.source
    return source if source == 'random weights' else f'weights: {source or "its own"}'


def size_seen(recognizer: Recognizer, crop: Size | None) -> str:
    """Return the size in pixels that the network sees, and what enlarging crops to it costs."""
    if crop is None:
        return recognizer.resizing()
    height, width = recognizer.resized(*crop)
    if (height, width) == crop:
        return 'images as they come'
    text = f'images resized to {width}x{height} pixels'
    if height * width > crop[0] * crop[1]:
        times = height * width / (crop[0] * crop[1])
        text += (f': crops of {crop[1]}x{crop[0]} are enlarged, so its part of a step costs about {times:.2g} times as '
                 'much as at their own size (input_size, resize)')
    return text
