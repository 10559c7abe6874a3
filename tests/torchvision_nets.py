"""Small networks of torchvision for the tests, with random weights whose answers differ from place to place."""
import contextlib
import functools
from unittest import mock

import torch
import torchvision
from torch import nn
from torch.nn.functional import interpolate

from ra_plugin.recognizers import TorchvisionRecognizer

SIZES = {'min_size': 64, 'max_size': 96}
FEW = {**SIZES, 'rpn_post_nms_top_n_train': 50, 'rpn_post_nms_top_n_test': 50, 'box_detections_per_img': 10}
DETECTORS = {  # name -> further arguments; the first two are the fast ones
    'ssdlite320_mobilenet_v3_large': {}, 'fasterrcnn_mobilenet_v3_large_320_fpn': {**SIZES, 'rpn_score_thresh': 0.0},
    'fcos_resnet50_fpn': SIZES, 'retinanet_resnet50_fpn': SIZES, 'retinanet_resnet50_fpn_v2': SIZES,
    'fasterrcnn_resnet50_fpn': FEW, 'maskrcnn_resnet50_fpn': FEW, 'ssd300_vgg16': {}}
SEGMENTERS = {'lraspp_mobilenet_v3_large': {}, 'deeplabv3_mobilenet_v3_large': {'aux_loss': True}, 'fcn_resnet50': {}}
NUM_CLASSES = 4  # with the background
HEIGHT, WIDTH = 64, 96  # of the images


def native(name, **arguments):
    """The library's own network with random weights, in inference mode."""
    options = {**DETECTORS, **SEGMENTERS}.get(name, {})
    torch.manual_seed(3)
    model = torchvision.models.get_model(name, weights=None, weights_backbone=None,
                                         **{'num_classes': NUM_CLASSES, **options, **arguments})
    if 'mobilenet' in name:  # whose first weights would let all images look alike
        for layer in model.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight)
    return model.eval()


@functools.cache
def weights_of(name):
    """The state dict of a network, which is built once."""
    return native(name).state_dict()


@contextlib.contextmanager
def uninitialized():
    """Build networks within the context without drawing weights, which takes most of the time."""
    names = ('kaiming_uniform_', 'kaiming_normal_', 'normal_', 'trunc_normal_', 'uniform_', 'xavier_uniform_')
    with mock.patch.multiple(nn.init, **dict.fromkeys(names, lambda tensor, *args, **kwargs: tensor)):
        yield


def in_training(model):
    """The training mode of a network whose statistics are frozen, reached by hand."""
    model.train()
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm2d, nn.Dropout)):
            module.eval()
    return model


@functools.cache
def pair(name, resize='model', **arguments):
    """A recognizer, and the library's network with the same weights."""
    model = native(name, **arguments)
    with uninitialized():
        recognizer = TorchvisionRecognizer(name, pretrained=False, resize=resize, model_kwargs={
            'num_classes': NUM_CLASSES, **{**DETECTORS, **SEGMENTERS}.get(name, {}), **arguments})
    recognizer.model.load_state_dict(model.state_dict())
    return recognizer, model


def pictures(count=2, size=(HEIGHT, WIDTH)):
    """Smooth random 8-bit images, (count, 3, H, W)."""
    noise = torch.rand(count, 3, 9, 9, generator=torch.Generator().manual_seed(1))
    return (255 * interpolate(noise, size, mode='bicubic').clamp(0, 1)).round().byte()


def images(count=2, size=(HEIGHT, WIDTH)):
    return pictures(count, size).float() / 255
