"""An evaluation's option file: what stands in the place of a block gets one line with what to write there."""
import copy
import re

import pytest
from small_evaluation import make

from ra_plugin.evaluation.options import evaluation_options
from ra_plugin.evaluation.restorers import restorer_options
from ra_plugin.options import OptionError

RESTORER = (r"\{checkpoint: a restorer's file}, \{option_file: a run's}, \{network_g: \.\.\., checkpoint: \.\.\.} or "
            r'\{folder: restored images}')
OF_A_TYPE = r'\{type: \.\.\., \.\.\.}'
PLACES = [('restorers.plain', RESTORER), ('restorers', rf'\{{NAME: {RESTORER}}}'),
          ('recognizers.one', OF_A_TYPE), ('recognizers', rf'\{{NAME: {OF_A_TYPE}}}'),
          ('datasets.d', OF_A_TYPE), ('datasets', rf'\{{NAME: {OF_A_TYPE}}}'),
          ('degradations.noise', OF_A_TYPE), ('degradations', rf'\{{NAME: {OF_A_TYPE}}}'),
          ('restorers.net.network_g', OF_A_TYPE), ('restorers.net.network_t', OF_A_TYPE),
          ('quality_metrics', r'\{NAME: \{KEY: \.\.\., \.\.\.}}'), ('quality_metrics.gmsd', r'\{KEY: \.\.\., \.\.\.}'),
          ('recognition_metrics', r'\{NAME: \.\.\.}')]


def check(root, place, value):
    opt = copy.deepcopy(make(root))
    *parents, last = place.split('.')
    node = opt
    for key in parents:
        node = node.setdefault(key, {})
    node[last] = value
    options, _ = evaluation_options(opt, root)
    for name, block in options.restorers.items():
        restorer_options(block, root, options.recognizers, f'restorers.{name}')


@pytest.mark.parametrize('place, example', PLACES, ids=[place for place, _ in PLACES])
@pytest.mark.parametrize('value', [3, 'a.yml', True, [{}]])
def test_whatever_stands_in_the_place_of_a_block_is_told_what_to_write(tmp_path, place, example, value):
    message = rf'^{re.escape(place)}: expected .*block.*, got {re.escape(repr(value))}\..* Write {example}\.$'
    with pytest.raises(OptionError, match=message):
        check(tmp_path, place, value)


def test_the_blocks_that_the_messages_show_are_taken(tmp_path):
    check(tmp_path, 'restorers.other', {'folder': str(tmp_path / 'plain')})
