"""What ``train.recog_budget`` needs in the rest of an option file."""
import pytest
from test_option_file import base
from test_unread_keys import put

from ra_plugin.builders.file_check import check_file
from ra_plugin.options import OptionError


def with_budget() -> dict:
    opt = put(base(), 'path.pretrain_network_g', 'net_g.pth')
    return put(opt, 'train.recog_budget', {'max_psnr_drop': 0.1})


def test_a_file_with_a_budget():
    check_file(with_budget())


@pytest.mark.parametrize(('place', 'value', 'message'), [
    ('train.recog_budget', {'max_psnr_drop': 0}, 'train.recog_budget.max_psnr_drop: expected a number > 0, got 0'),
    ('train.recog_budget', {'every': 3}, "train.recog_budget: 'max_psnr_drop' is missing"),
    ('train.recog_budget', {'max_psnr_drop': 0.1, 'evry': 3}, "Did you mean 'every'"),
    ('train.recog_budget', {'max_psnr_drop': 0.1, 'dataset': 'vall'}, 'recog_budget.dataset: expected one of val'),
    ('train.recog_opt', None, 'there is no recognition loss'),
    ('path.pretrain_network_g', None, 'which has random weights here. Set path.pretrain_network_g'),
    ('network_t', {'type': 'ResnetGenerator', 'num_feat': 4, 'num_block': 1}, 'changes network_g alone'),
])
def test_what_a_budget_needs(place, value, message):
    with pytest.raises(OptionError) as caught:
        check_file(put(with_budget(), place, value))
    assert message in str(caught.value)


def test_a_recognizer_that_learns_has_no_budget():
    opt = with_budget()
    opt['train']['recog_opt'] = {**opt['train']['recog_opt'], 'type': 'RecogLoss'}
    opt['train']['recog_opt']['recognizer'] = {**opt['train']['recog_opt']['recognizer'], 'trainable': True}
    with pytest.raises(OptionError, match='with a frozen recognizer'):
        check_file(opt)


def test_a_budget_without_clean_images_to_measure_on():
    opt = with_budget()
    del opt['datasets']['val']
    with pytest.raises(OptionError, match='expected one of val, val_2, ... in datasets, got none'):
        check_file(opt)
