"""Check that most annotations of a COCO file are used; if few are, the file has another format than expected."""
import logging
from collections import Counter
from collections.abc import Mapping, Sequence

from ra_plugin.options import OptionError

_NEARLY_NONE = 0.05  # share of the annotations
_MANY = 0.1
_FEWEST = 5  # minimum number of boxes for detecting corner format
_REMEDIES = {
    'a bbox thinner than a pixel': 'COCO has [x, y, width, height] in pixels: are these fractions of the image?',
    'an area of 0': 'Write width times height, or remove area.',
    'a bbox outside of the image': 'Check that annotations and images belong together.',
    'ignore set': 'Remove ignore from the annotations to train on.',
    'iscrowd set': 'Set iscrowd to 0 for boxes of a single object.',
}


def reason_to_drop(annotation: Mapping, image: Mapping) -> str | None:
    """Return the reason for dropping a box, by the rules of mmdet's ``CocoDataset``; None to keep it."""
    x, y, width, height = annotation['bbox']
    if annotation.get('ignore'):
        return 'ignore set'
    if width < 1 or height < 1:
        return 'a bbox thinner than a pixel'
    area = annotation.get('area')
    if area is not None and area <= 0:
        return 'an area of 0'
    if min(x + width, image['width']) <= max(x, 0) or min(y + height, image['height']) <= max(y, 0):
        return 'a bbox outside of the image'
    return None


def check_usage(images: Sequence[Mapping], annotations: Sequence[Mapping], place: str) -> None:
    """Check that annotations belong to images, and are usable for training.

    A file with part of the images may have the annotations of all.

    Raises:
        OptionError: Hardly any annotation belongs to an image, hardly any is usable, or boxes are given as corners.
    """
    by_id = {image['id']: image for image in images}
    own = [annotation for annotation in annotations if annotation['image_id'] in by_id]
    annotated = {annotation['image_id'] for annotation in own}
    if annotations and (not own or len(own) < _NEARLY_NONE * len(annotations)
                        and len(annotated) < _NEARLY_NONE * len(images)):
        other = next(annotation for annotation in annotations if annotation['image_id'] not in by_id)
        raise OptionError(f'{place}: expected annotations of its {len(images)} images, got {len(own)} of '
                          f'{len(annotations)} that belong to one: annotation {other.get("id")} has image_id '
                          f'{other["image_id"]!r}, and the first image has id {next(iter(by_id), None)!r}. '
                          'Make image_id the id of an image.')
    _check_corners(own, by_id, place)
    reasons: Counter[str] = Counter()
    first: dict[str, Mapping] = {}
    for annotation in own:
        reason = reason_to_drop(annotation, by_id[annotation['image_id']])
        reason = reason or ('iscrowd set' if annotation.get('iscrowd') else None)
        if reason:
            reasons[reason] += 1
            first.setdefault(reason, annotation)
    left = len(own) - reasons.total()
    counts = ', '.join(f'{count} have {reason}' for reason, count in reasons.most_common())
    if own and left <= _NEARLY_NONE * len(own):
        reason = reasons.most_common(1)[0][0]
        example = first[reason]
        raise OptionError(f'{place}: expected usable annotations, got {left} of {len(own)}: {counts}, e.g. '
                          f'annotation {example.get("id")} with bbox {example["bbox"]}. {_REMEDIES[reason]}')
    if reasons.total() > _MANY * len(own):
        logging.getLogger('basicsr').warning(f'{place}: {reasons.total()} of {len(own)} annotations are not used for '
                                             f'training: {counts}.')


def _check_corners(annotations: Sequence[Mapping], images: Mapping, place: str) -> None:
    beyond = 0
    for annotation in annotations:
        x, y, width, height = annotation['bbox']
        image = images[annotation['image_id']]
        if not (x < width <= image['width'] + 1 and y < height <= image['height'] + 1):
            return
        beyond += x + width > image['width'] + 1 or y + height > image['height'] + 1
    if len(annotations) >= _FEWEST and 2 * beyond > len(annotations):
        raise OptionError(f'{place}: expected each bbox as [x, y, width, height], got {beyond} of {len(annotations)} '
                          'that extend beyond their images, while all would fit as corners [x1, y1, x2, y2]. Write '
                          '[x1, y1, x2 - x1, y2 - y1].')
