"""Which keys a class reads from its options is found in its source: all that it may read, and all that it has to."""
import random

import pytest
from basicsr.data.paired_image_dataset import PairedImageDataset
from basicsr.data.realesrgan_dataset import RealESRGANDataset
from basicsr.models.realesrnet_model import RealESRNetModel
from basicsr.models.swinir_model import SwinIRModel

from ra_plugin.builders.option_keys import ReadKeys, read_keys, words_of

DISK = {'io_backend': {'type': 'disk'}, 'dataroot_gt': 'gt', 'dataroot_lq': 'lq', 'scale': 2}


class Base:
    def __init__(self, opt):
        self.opt = opt
        self.size = opt['size']
        self.is_train = opt['phase'] == 'train'

    def __getitem__(self, index):
        return self.opt['of_base']


class Mine(Base):
    def __init__(self, options):
        super().__init__(options)
        inner = options['inner']
        self.depth = inner['depth']
        self.color = options['color'] if 'color' in options else None
        self.mean = self.opt.get('mean')
        options['made'] = 1
        if not options.get('quick', False):
            self._slow()
        self.reader = build_reader(inner)

    def _slow(self):
        self.patience = self.opt['patience']

    def __getitem__(self, index):
        if self.opt['phase'] == 'train':
            self.crop = self.opt['crop']
        elif self.opt['phase'] == 'val' and self.opt.get('whole'):
            return self.opt['whole_size']
        if random.random() < self.opt['chance']:
            return self.opt['by_chance']
        if index > 3:
            return self.opt['perhaps']
        try:
            return self.opt['tried']
        except KeyError:
            return self.opt['made']


def build_reader(options):
    """Stands for one of another package."""


def missing(cls, **opt):
    return ['.'.join(place) for place in read_keys(cls).missing(opt)]


def test_every_key_that_is_read_anywhere_is_known():
    keys = read_keys(Mine)
    assert keys.keys(()) >= {'size', 'phase', 'inner', 'color', 'mean', 'quick', 'patience', 'crop', 'whole',
                             'whole_size', 'chance', 'by_chance', 'perhaps', 'tried', 'of_base'}
    assert keys.keys(('inner',)) == {'depth'}
    assert keys.built['inner',] == {'build_reader'}
    assert keys.is_closed


def test_what_is_missing_follows_the_options():
    assert missing(Mine, phase='val') == ['size', 'inner', 'patience', 'chance', 'by_chance']
    assert missing(Mine, phase='train', size=1, inner={}, quick=True, chance=0, by_chance=0) == ['inner.depth', 'crop']
    assert missing(Mine, phase='val', size=1, inner={'depth': 1}, quick=True, whole=True, chance=0) == ['whole_size']


def test_a_method_that_a_subclass_replaces_is_not_read():
    assert 'of_base' not in missing(Mine, phase='val')
    assert 'of_base' in missing(Base, phase='val')


@pytest.mark.parametrize('phase, keys', [('train', ['gt_size', 'use_hflip', 'use_rot']), ('val', [])])
def test_a_phase_needs_its_own_keys_alone(phase, keys):
    assert missing(PairedImageDataset, phase=phase, **DISK) == keys


def test_the_kind_of_files_decides_what_is_needed():
    assert 'meta_info' in missing(RealESRGANDataset, **DISK)
    assert 'meta_info' not in missing(RealESRGANDataset, **{**DISK, 'io_backend': {'type': 'lmdb'}})


def test_models():
    opt = {'is_train': True, 'network_g': {}, 'train': {}, 'path': {}, 'val': {}}
    assert 'network_g.window_size' in missing(SwinIRModel, **opt)  # read in each validation
    assert {'gt_usm', 'resize_prob', 'resize_range2', 'gt_size'} <= set(missing(RealESRNetModel, **opt))
    quiet = {**opt, 'high_order_degradation': False}
    assert not {'gt_usm', 'resize_prob'} & set(missing(RealESRNetModel, **quiet))
    assert not {'train', 'train.optim_g'} & set(missing(SwinIRModel, is_train=False, network_g={}, path={}))


def test_a_class_without_source_is_not_closed():
    space = {'__name__': 'typed_in'}
    exec('class Typed:\n    def __init__(self, opt):\n        self.x = opt["x"]\n', space)
    keys = ReadKeys(space['Typed'])
    assert not keys.is_closed and keys.missing({}) == []


def test_words_of_a_package():
    assert 'of_base' in words_of([__name__]) and 'never_written' + '_here' not in words_of([__name__])
