"""Stand-in of the options: attributes with defaults; the blocks of losses, of networks and of readers are mappings."""
from types import SimpleNamespace

import yaml

DATA = {'dataroot_gt': None, 'io_backend': {'type': 'disk'}, 'meta_info': None, 'mean': None, 'std': None,
        'accum_iter': 1}
TRAIN = {'use_moa': False, 'losses': None}


def yaml_load(file):
    with open(file) as text:
        block = yaml.safe_load(text)
    train = {**TRAIN, **block['train']}
    train['eco'] = SimpleNamespace(**{'enabled': False, **train.get('eco', {})})
    data = {name: SimpleNamespace(**{**DATA, **one}) for name, one in block['datasets'].items()}
    return SimpleNamespace(**{'high_order_degradation': False, **block, 'datasets': data,
                              'train': SimpleNamespace(**train)}), ''
