"""Check that data sets and recognizers have the same classes."""
from collections.abc import Iterable
from typing import Any

from ra_plugin.data.spellings import normal_forms
from ra_plugin.options import OptionError
from ra_plugin.recognizers import Recognizer
from ra_plugin.utils.text import how_many


def check_classes(dataset: Any, recognizers: Iterable[Recognizer], where: str) -> None:
    """Check that a label means the same class to a data set and to each recognizer.

    Args:
        dataset: What has ``num_classes`` and ``classes``, where it has labels; and ``opt``, if it is a data set.
        recognizers: The recognizers.
        where: Place of the data set, for messages.

    Raises:
        OptionError: Another number of classes, the same names in another order, or of a data set that keeps some of its
            classes, other names: a half has as many classes as the other. Masks whose 0 means something else.
    """
    count = getattr(dataset, 'num_classes', None)
    if count is None:
        return
    in_part = bool((getattr(dataset, 'opt', None) or {}).get('keep_classes'))
    for recognizer in (member for owner in recognizers for member in owner.members()):
        _check_zero_label(dataset, recognizer, where)
        info = recognizer.info
        if info.task == 'embedding' and not info.num_classes:  # labels are identities, none of which it knows
            continue
        names = getattr(dataset, 'classes', None)
        # without names the highest label is all that is known of the classes
        if info.num_classes != count if names else info.num_classes < count:
            raise OptionError(f'{where}: {how_many(count, "class")}, but {recognizer} tells {info.num_classes} '
                              'apart. Use a recognizer of these classes, or give the data set the '
                              "recognizer's list: classes.")
        own, theirs = normal_forms(names or ()), normal_forms(info.classes or ())
        if own and theirs and set(own) == set(theirs) and own != theirs:
            raise OptionError(f'{where}: the class names are those of {recognizer} in another order, so labels would '
                              'be mixed up. Give the data set the order of the recognizer: '
                              f'{"keep_classes" if in_part else "classes"}.')
        if in_part and theirs and set(own) != set(theirs):
            missing = next(name for name in own if name not in theirs)
            raise OptionError(f"{where}: keep_classes has '{missing}', which is no class of {recognizer}. Use a "
                              'recognizer of these classes.')


def _check_zero_label(dataset: Any, recognizer: Recognizer, where: str) -> None:
    """Check that 0 in masks is a class to both or to neither; an explicit ``reduce_zero_label: false`` makes it one."""
    shifts = getattr(dataset, 'shifts_labels', None)
    if shifts is None:
        return
    for member in recognizer.members():
        wanted = member.info.reduce_zero_label
        if wanted and not shifts and dataset.options.reduce_zero_label is None:
            raise OptionError(f"{where}: {member} was trained with reduce_zero_label, as its config says: 0 in the "
                              'masks is no class, and k is class k - 1. Set reduce_zero_label: true for the data set, '
                              'or false where its masks are without that.')
        if dataset.options.reduce_zero_label and wanted is False:
            raise OptionError(f'{where}: reduce_zero_label: true, but the config of {member} says false: 0 in the '
                              'masks is a class to it. Leave it out.')
