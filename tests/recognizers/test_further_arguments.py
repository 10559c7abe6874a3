"""model_kwargs, module_kwargs and cfg_options: what the network cannot take is said of the key, in one line."""
import functools
import inspect
import math
import sys

import mm_configs as small
import numpy as np
import pytest
import timm
import torch
import torchvision

from ra_plugin.options import OptionError
from ra_plugin.recognizers import build_recognizer
from ra_plugin.recognizers.further_arguments import check_annotated

WHERE = 'train.recog_opt.recognizer'


def refused(message, **block):
    with pytest.raises(ValueError, match=rf'^train\.recog_opt\.recognizer: .*{message}') as caught:
        build_recognizer(block, WHERE)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('kwargs, message', [
    ({'num_classes': 'ten'}, "model_kwargs.num_classes: expected a whole number, got 'ten'"),
    ({'num_classes': 2.5}, 'model_kwargs.num_classes: expected a whole number, got 2.5'),
    ({'num_classes': -1}, 'model_kwargs.num_classes: expected a number >= 0'),
    ({'in_chans': '3'}, "model_kwargs.in_chans: expected a whole number, got '3'.*write 3"),
    ({'features_only': True}, 'model_kwargs.features_only: .*no logits. Leave it out: RecogFeatureLoss'),
    ({'global_pool': ''}, "model_kwargs.global_pool: '' leaves out the pooling.*no logits. Leave it out"),
    ({'global_pool': 5}, 'model_kwargs.global_pool: expected .*, got 5'),
    ({'drop_rate': 'a'}, "model_kwargs.drop_rate: expected a number, got 'a'"),
    ({'pretrained': True}, "model_kwargs.pretrained: is the recognizer's own key"),
    ({'checkpoint_path': 'x'}, 'model_kwargs.checkpoint_path: expected checkpoint: FILE'),
    ({'pretrained_cfg_overlay': 3}, 'model_kwargs.pretrained_cfg_overlay: expected a block, got 3'),
    ({'pretrained_cfg_overlay': {'mean': 'a'}}, 'pretrained_cfg_overlay.mean: expected a list of numbers'),
    ({'pretrained_cfg_overlay': {'input_size': [3, 64]}}, 'pretrained_cfg_overlay.input_size: expected'),
    ({'pretrained_cfg_overlay': {'crop_mode': 'centre'}}, "crop_mode 'centre'; expected center"), ({3: 4}, 'got 3')])
@pytest.mark.parametrize('model_name', ['test_resnet', 'test_vit'])
def test_of_timm(kwargs, message, model_name):
    refused(message, type='TimmRecognizer', model_name=model_name, pretrained=False, model_kwargs=kwargs)


@pytest.mark.filterwarnings('ignore:.*random weights')
@pytest.mark.parametrize('kwargs, count', [({'num_classes': 0, 'global_pool': ''}, 0), ({'num_classes': None}, 1000),
                                           ({'num_classes': 3, 'drop_rate': 1e-1, 'global_pool': 'max'}, 3)])
def test_what_timm_takes_is_taken(kwargs, count):
    block = {'type': 'TimmRecognizer', 'model_name': 'test_resnet', 'pretrained': False, 'model_kwargs': kwargs}
    assert build_recognizer(block).info.num_classes == count


@pytest.mark.slow
@pytest.mark.parametrize('kwargs, message', [
    ({'num_classes': 'ten'}, 'num_classes: expected a whole number'), ({'norm_layer': 'bn'}, 'norm_layer: expected'),
    ({'zero_init_residual': 'a'}, 'zero_init_residual: expected true or false'),
    ({'replace_stride_with_dilation': [1]}, 'replace_stride_with_dilation: expected a list'),
    ({'weights': 'DEFAULT'}, "weights: is the recognizer's own key")])
def test_of_torchvision(tmp_path, kwargs, message):
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), tmp_path / 'net.pth')
    refused(f'model_kwargs.{message}', type='TorchvisionRecognizer', model_name='resnet18', model_kwargs=kwargs,
            checkpoint=str(tmp_path / 'net.pth'))


@pytest.mark.parametrize('module', ['torchvision.models.resnet18', 'ra_plugin.recognizers.tiny_nets.TinyVGG'])
def test_of_a_module(module):
    refused("module_kwargs.num_classes: expected a whole number, got 'ten'", type='ModuleRecognizer', module=module,
            mean=[0.5] * 3, std=[0.5] * 3, pretrained=False, module_kwargs={'num_classes': 'ten'})


@pytest.mark.parametrize('kind, options, message', [
    ('det', {'model.bbox_head.num_classes': 'ten'}, "model.bbox_head.num_classes: expected a number, got 'ten'"),
    ('det', {'model.bbox_head.num_class': 3}, "AnchorHead takes no 'num_class'. Did you mean 'num_classes'"),
    ('det', {'model.test_cfg.score_th': 0.5}, "the config has no 'score_th' there. Did you mean 'score_thr'"),
    ('det', {'model.test_cfg.nms.iou_threshold': 'a'}, 'iou_threshold: expected a number'),
    ('det', {'modl.x': 3}, "the config has no 'modl' there. Did you mean 'model'"),
    ('det', {'model.bbox_head.type': 'RetinHead'}, "mmdet has no 'RetinHead', .* Did you mean 'RetinaHead'"),
    ('det', {'model.type': 'RetinaNett'}, "mmdet has no model 'RetinaNett'. Did you mean 'RetinaNet'"),
    ('seg', {'model.decode_head.type': 'FCNhead'}, "mmseg has no 'FCNhead', .* Did you mean 'FCNHead'"),
    ('seg', {'model.decode_head.channels': 'a'}, "model.decode_head.channels: expected a number, got 'a'"),
    ('seg', {'model.backbone.depth': 7}, "cfg_options: KeyError: 'invalid depth 7")])
def test_of_openmmlab(tmp_path, kind, options, message):
    model, name = (small.RETINANET, 'MMDetRecognizer') if kind == 'det' else (small.FCN, 'MMSegRecognizer')
    config = small.write_config(tmp_path / 'net.py', model, f'mm{kind}')
    refused(message, type=name, config=config, pretrained=False, cfg_options=options)


@pytest.mark.filterwarnings('ignore:.*random weights')
def test_what_openmmlab_takes_is_taken(tmp_path):
    config = small.write_config(tmp_path / 'net.py', small.RETINANET, 'mmdet')
    options = {'model.test_cfg.score_thr': 0, 'model.test_cfg.nms.type': 'soft_nms', 'model.test_cfg.extra': 'a',
               'model.backbone.frozen_stages': -1}
    assert build_recognizer({'type': 'MMDetRecognizer', 'config': config, 'pretrained': False,
                             'cfg_options': options}).model.test_cfg.extra == 'a'


class Narrow(torch.nn.Module):
    """Annotated more narrowly than it takes, as many a class of timm."""

    def __init__(self, drop_rate: float = 0., img_size: int = 224,
                 norm_layer: type[torch.nn.Module] = torch.nn.Identity,
                 down_ops: tuple[tuple[str, int], ...] = (('', 1),), kinds: list[int] = ('a', 'b'),
                 ratios: float | tuple[float, ...] = 4., class_token: bool = True, act_layer: type = torch.nn.ReLU,
                 device: torch.device = None):
        super().__init__()


@pytest.mark.parametrize('arguments', [
    {'drop_rate': np.float32(0.5)}, {'drop_rate': torch.tensor(0.5)}, {'img_size': [224, 224]},
    {'img_size': np.int64(3)},
    {'norm_layer': functools.partial(torch.nn.LayerNorm, eps=1e-6)}, {'norm_layer': 'layernorm'},
    {'down_ops': [['', 1], ['subsample', 2]]}, {'kinds': ['a', 'c']}, {'ratios': [4, [4, 3, 3]]}, {'class_token': 1},
    {'act_layer': 'silu'}, {'device': 'cpu'}, {'unknown': 3}, {'drop_rate': None}])
def test_what_a_class_took_is_not_refused_for_an_annotation_that_is_too_narrow(arguments):
    check_annotated(Narrow, arguments, 'model_kwargs')


@pytest.mark.parametrize('arguments, message', [
    ({'drop_rate': '0.5'}, 'drop_rate: expected a number'), ({'drop_rate': math.nan}, 'drop_rate: expected a number'),
    ({'drop_rate': True}, 'drop_rate: expected a number'),
    ({'img_size': [3, 'a']}, 'img_size: expected a whole number'),
    ({'down_ops': [['', True]]}, 'down_ops: expected a list of a list of text or whole numbers'),
    ({'ratios': [4, 'x']}, 'ratios: expected a number or a list'),
    ({'class_token': 'no'}, 'class_token: expected true')])
def test_plain_values_of_another_type_are(arguments, message):
    with pytest.raises(OptionError, match=rf'^model_kwargs\.{message}'):
        check_annotated(Narrow, arguments, 'model_kwargs')


@pytest.mark.parametrize('name', ['mambaout_femto', 'efficientvit_m0', 'rdnet_tiny', 'resnet18', 'cait_xxs24_224'])
def test_timms_own_values_fit_what_timm_annotates(name, monkeypatch):
    """What timm hands to its own classes, which a user may spell out; nothing is built."""
    given = {}
    module = sys.modules[timm.model_entrypoint(name).__module__]
    monkeypatch.setattr(module, 'build_model_with_cfg', lambda cls, *args, **kwargs: given.update(cls=cls, **kwargs))
    timm.model_entrypoint(name)()
    cls = given.pop('cls')
    own = {key: value for key, value in given.items() if key in inspect.signature(cls.__init__).parameters}
    defaults = {key: parameter.default for key, parameter in inspect.signature(cls.__init__).parameters.items()
                if parameter.default is not parameter.empty}
    check_annotated(cls, {**defaults, **own}, 'model_kwargs')


@pytest.mark.parametrize('kwargs', [{'features_only': False}, {'checkpoint_path': ''}, {'num_classes': np.int64(7)},
                                    {'drop_rate': np.float32(0.1), 'zero_init_last': 1}])
def test_defaults_and_numbers_of_numpy_are_taken_by_timm(kwargs):
    build_recognizer({'type': 'TimmRecognizer', 'model_name': 'test_resnet', 'pretrained': False,
                      'model_kwargs': kwargs})


@pytest.mark.parametrize('options', [
    {'default_scope': 'mmdet'}, {'load_from': None, 'work_dir': 'x', 'randomness.seed': 0},
    {'model.backbone.norm_eval': 1},
    {'model.test_cfg.score_thr': np.float32(0.5)}, {'model.data_preprocessor.mean': (1, 2, 3)},
    {'model.backbone.frozen_stages': 1, 'model.backbone.init_cfg': None}])
def test_what_openmmlabs_programs_take_is_taken(tmp_path, options):
    config = small.write_config(tmp_path / 'net.py', small.RETINANET, 'mmdet')
    build_recognizer({'type': 'MMDetRecognizer', 'config': config, 'pretrained': False, 'cfg_options': options})
