"""What ``train.anchor_opt`` takes, and what it needs in the rest of an option file."""
import pytest
from test_option_file import base
from test_unread_keys import put

from ra_plugin.builders.file_check import check_file
from ra_plugin.options import OptionError

NETWORK_T = {'type': 'ResnetGenerator', 'num_feat': 4, 'num_block': 1}
ANCHOR = {'type': 'MSELoss', 'loss_weight': 100, 'to': 'start'}


def to_start() -> dict:
    return put(put(base(), 'path.pretrain_network_g', 'net_g.pth'), 'train.anchor_opt', dict(ANCHOR))


def to_output() -> dict:
    return put(put(base(), 'network_t', dict(NETWORK_T)), 'train.anchor_opt', {**ANCHOR, 'to': 'output'})


def test_files_with_an_anchor():
    check_file(to_start())
    check_file(put(to_start(), 'train.pixel_opt', None))  # the anchor is an image loss, too
    check_file(put(put(to_start(), 'path.pretrain_network_g', None), 'network_g.checkpoint', 'x.pth')
               | {'network_g': {'type': 'SpandrelNetwork', 'checkpoint': 'x.pth'}})
    check_file(to_output())
    check_file(put(to_output(), 'train.anchor_opt', {'type': 'L1Loss', 'to': 'gt'}))


@pytest.mark.parametrize(('opt', 'place', 'value', 'message'), [
    (to_start, 'train.anchor_opt.to', 'strat', "train.anchor_opt.to: expected 'output' | 'gt' | 'start', got 'strat'."
                                               " Did you mean 'start'"),
    (to_start, 'train.anchor_opt.to', None, "train.anchor_opt: 'to' is missing"),
    (to_start, 'train.anchor_opt.type', 'MSLoss', "train.anchor_opt.type: no loss 'MSLoss'. Did you mean 'MSELoss'"),
    (to_start, 'train.anchor_opt.type', 'GANLoss', 'train.anchor_opt.type: expected a loss of two images, got GANLoss'),
    (to_start, 'train.anchor_opt.type', 'WeightedTVLoss', 'expected a loss of two images, got WeightedTVLoss'),
    (to_start, 'train.anchor_opt.loss_wieght', 1, "unknown key 'loss_wieght'. Did you mean 'loss_weight'"),
    (to_start, 'train.anchor_opt.loss_weight', -1, 'train.anchor_opt.loss_weight: expected a number >= 0, got -1'),
    (to_start, 'train.anchor_opt.reduction', 'none', 'train.anchor_opt.reduction: training needs one number'),
    (to_start, 'train.anchor_opt', 3, 'train.anchor_opt: expected a block'),
    (to_start, 'path.pretrain_network_g', None, 'train.anchor_opt.to: start is the network that the training starts '
                                                'from, which has random weights here. Set path.pretrain_network_g'),
    (to_start, 'network_t', NETWORK_T, 'expected output or gt for the images of network_t, got start'),
    (to_start, 'train.anchor_opt.to', 'gt', 'expected start for the images of network_g, got gt. For the clean image '
                                            'use train.pixel_opt'),
    (to_output, 'network_t', None, 'expected start for the images of network_g, got output. It is the input of T'),
    (to_output, 'train.anchor_opt.to', 'lq', 'got lq: the degraded image is what network_g restores'),
    (to_start, 'train.recog_opt', None, 'there is no recognition loss that would move the images away'),
])
def test_what_an_anchor_needs(opt, place, value, message):
    with pytest.raises(OptionError) as caught:
        check_file(put(opt(), place, value))
    assert message in str(caught.value)


def test_the_steps_between_have_no_anchor_and_so_no_loss():
    opt = put(put(to_start(), 'train.recog_every', 2), 'train.pixel_opt', None)
    with pytest.raises(OptionError, match='train.recog_every: the steps between would have no loss'):
        check_file(opt)


def test_an_anchor_is_not_for_a_restorer_that_does_not_learn():
    opt = to_start()
    opt['train']['recog_opt']['recognizer']['trainable'] = True
    opt['val']['recognizers'] = {}
    opt['train']['optim_g'] = None
    del opt['train']['pixel_opt']
    with pytest.raises(OptionError, match='train.anchor_opt: the recognizer alone learns'):
        check_file(opt)


def test_a_file_for_testing_may_keep_it():
    opt = to_start()
    opt['is_train'] = False
    opt['path']['pretrain_network_g'] = None
    check_file(opt)
