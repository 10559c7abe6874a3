"""What reaches a recognizer's network is what its own pipeline makes of the same image: crop modes, luma, clamping."""
import numpy as np
import pytest
import timm
import torch
import torchvision
from PIL import Image
from torch import nn

from ra_plugin import RecogConsistencyLoss, RecogFeatureLoss, RecogLoss, build_recognizer
from ra_plugin.recognizers import (
    ClassificationRecognizer,
    EnsembleRecognizer,
    ModuleRecognizer,
    Recognizer,
    RecognizerInfo,
)
from ra_plugin.recognizers.facts import TaskError
from ra_plugin.recognizers.frozen.resizing import judging, resize, shared_resizes

SIZES = [(64, 64), (48, 40), (90, 64), (33, 70), (97, 131), (20, 90)]  # height, width


def timm_block(name='test_resnet', input_size=64, **kwargs):
    return {'type': 'TimmRecognizer', 'model_name': name, 'pretrained': False, 'input_size': input_size,
            'model_kwargs': kwargs}


def picture(height, width, smooth=False):
    pixels = np.random.default_rng(0).integers(0, 256, (height // 4 + 1, width // 4 + 1, 3), np.uint8)
    image = Image.fromarray(pixels)
    return image.resize((width, height), Image.BILINEAR if smooth else Image.NEAREST)


def as_images(image):
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)[None] / 255


def overlay(**record):
    return timm_block(pretrained_cfg_overlay=record)


# timm's crop modes

@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('interpolation', ['bilinear', 'bicubic'])
@pytest.mark.parametrize('mode, fit', [('center', 'crop'), ('squash', 'stretch'), ('border', 'border')])
def test_each_crop_mode_of_timms_record_is_its_own_transform(mode, fit, interpolation, size):
    recognizer = build_recognizer(overlay(crop_mode=mode, interpolation=interpolation, mean=(0.4, 0.5, 0.6)))
    assert recognizer.fit == fit and recognizer.info.interpolation == interpolation
    image = picture(*size)
    config = timm.data.resolve_data_config(model=recognizer.model)
    theirs = timm.data.create_transform(**{**config, 'input_size': (3, 64, 64), 'crop_pct': 1.0})(image)
    with judging():
        ours = recognizer.prepare(as_images(image))[0]
    levels = ((ours - theirs) * recognizer.std[0] * 255).abs()
    assert levels.mean() < 0.6 and levels.max() < 2  # PIL rounds to 8 bit after each axis


@pytest.mark.parametrize('mode', ['center', 'border'])
@pytest.mark.parametrize('size', SIZES)
def test_a_size_that_is_not_square_is_reached_as_timm_does(mode, size):
    recognizer = build_recognizer({**overlay(crop_mode=mode), 'input_size': [64, 48]})
    config = timm.data.resolve_data_config(model=recognizer.model)
    theirs = timm.data.create_transform(**{**config, 'input_size': (3, 64, 48), 'crop_pct': 1.0})(picture(*size))
    with judging():
        ours = recognizer.prepare(as_images(picture(*size)))[0]
    assert ours.shape == theirs.shape == (3, 64, 48)
    assert ((ours - theirs) * recognizer.std[0] * 255).abs().mean() < 0.6


def test_fit_of_the_block_comes_before_the_record():
    assert build_recognizer({**overlay(crop_mode='squash'), 'fit': 'crop'}).fit == 'crop'


def test_a_border_has_the_mean_color_and_no_gradient():
    images = torch.rand(1, 3, 8, 16, requires_grad=True)
    fitted = resize(images, (16, 16), 'border', 'bilinear', (0.25, 0.5, 0.75))
    assert torch.equal(fitted[0, :, 0, 0], torch.tensor([0.25, 0.5, 0.75]))
    torch.testing.assert_close(fitted[..., 4:12, :], images)
    assert torch.equal(torch.autograd.grad(fitted.sum(), images)[0], torch.ones_like(images))


def test_an_interpolation_without_gradient_is_refused():
    with pytest.raises(ValueError, match=r"test_resnet\): timm's record has the interpolation 'lanczos'.*overlay"):
        build_recognizer(overlay(interpolation='lanczos'))


# Overshoot

def edges():
    """Black bars on white."""
    images = torch.ones(1, 3, 24, 24)
    images[..., 6:8] = 0
    images[..., 12:18, :] = 0
    return images


def test_a_judge_sees_what_its_pipeline_clamps_and_a_loss_does_not():
    recognizer = build_recognizer(overlay(interpolation='bicubic', mean=(0.,) * 3, std=(1.,) * 3))
    seen = []
    recognizer.model.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    recognizer.predict(edges())
    recognizer.outputs(edges())
    with torch.no_grad():
        recognizer.outputs(edges())
    judge, loss, reference = seen
    assert judge.min() == 0 and judge.max() == 1
    assert loss.min() < -0.02 and loss.max() > 1.02
    assert (judge - loss.clamp(0, 1)).abs().mean() < 0.01
    assert torch.equal(loss, reference)  # both sides of a loss are treated alike
    picture = Image.fromarray((edges()[0] * 255).byte().permute(1, 2, 0).numpy())
    theirs = timm.data.create_transform((3, 64, 64), interpolation='bicubic', mean=(0.,) * 3, std=(1.,) * 3,
                                        crop_pct=1.0)(picture)
    assert (judge - theirs).abs().max() * 255 < 2


def test_members_of_an_ensemble_judge_alike():
    block = overlay(interpolation='bicubic')
    torch.manual_seed(1)
    alone = build_recognizer(block)
    ensemble = EnsembleRecognizer([alone, alone])
    for ours, theirs in zip(ensemble.predict(edges()).values(), alone.predict(edges()).values(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_judges_and_losses_do_not_share_a_resize():
    images = edges()
    with shared_resizes():
        free = resize(images, (48, 48), 'crop', 'bicubic')
        with judging():
            clamped = resize(images, (48, 48), 'crop', 'bicubic')
        assert free.min() < 0 <= clamped.min() and resize(images, (48, 48), 'crop', 'bicubic') is free


def test_images_that_are_not_resized_are_left_as_they_are():
    images = torch.tensor([-0.5, 1.5]).view(1, 1, 1, 2).expand(1, 3, 8, 2)
    with judging():
        assert torch.equal(resize(images, (8, 2), 'crop', 'bicubic'), images)


# One channel

class GrayNet(nn.Module):
    def __init__(self, channels=1):
        super().__init__()
        self.conv, self.head = nn.Conv2d(channels, 4, 3), nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.conv(x).relu().mean((2, 3)))


@pytest.mark.parametrize('mean, std', [([0.3], [0.6]), ([0.3] * 3, [0.6] * 3)], ids=['one number', 'three'])
def test_a_network_of_one_channel_is_given_the_luma_of_pil(mean, std):
    net, image = GrayNet(), picture(20, 24)
    recognizer = ModuleRecognizer(net, mean=mean, std=std)
    assert recognizer.info.channels == 1 and recognizer.info.num_classes == 3
    luma = torch.from_numpy(np.asarray(image.convert('L')).copy())[None, None] / 255
    prepared = recognizer.prepare(as_images(image))
    assert ((prepared * 0.6 + 0.3 - luma) * 255).abs().max() <= 0.51  # PIL rounds
    torch.testing.assert_close(recognizer.logits(as_images(image)), net.eval()((luma - 0.3) / 0.6), rtol=0, atol=0.02)


def test_the_gradient_of_the_luma_reaches_all_channels():
    recognizer = ModuleRecognizer(GrayNet(), mean=[0], std=[1])
    images = torch.rand(1, 3, 8, 8, requires_grad=True)
    RecogLoss(recognizer)(images, torch.tensor([1])).backward()
    weights = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    torch.testing.assert_close(images.grad / weights, (images.grad / weights)[:, :1].expand_as(images))
    assert images.grad.abs().max() > 0


def test_timm_with_one_channel_and_its_own_pipeline_see_the_same():
    recognizer = build_recognizer(timm_block(in_chans=1))
    assert recognizer.info.channels == 1
    image = picture(64, 64)
    record = recognizer.model.pretrained_cfg
    mean, std = np.dot([0.299, 0.587, 0.114], record['mean']), np.mean(record['std'])
    luma = np.asarray(image.convert('L')) / 255
    expected = torch.tensor((luma - mean) / std, dtype=torch.float32)[None, None]
    torch.testing.assert_close(recognizer.prepare(as_images(image)), expected, rtol=0, atol=0.51 / 255 / std)
    assert recognizer.predict(as_images(image))['labels'].shape == (1, 5)
    own = recognizer.own_preprocessing()
    assert own.transform(image).shape[1] == 1


@pytest.mark.parametrize('channels', [2, 4, 6])
def test_other_numbers_of_channels_are_named(channels):
    with pytest.raises(ValueError, match=rf'first layer takes {channels} channels; expected 3 \(RGB\) or 1 \(luma\)'):
        ModuleRecognizer(GrayNet(channels), mean=[0] * 3, std=[1] * 3)


def test_one_number_for_a_network_of_three_channels_is_refused():
    with pytest.raises(ValueError, match='mean and std: expected three numbers each'):
        ModuleRecognizer(GrayNet(3), mean=[0.5], std=[0.5])


# Without a head

@pytest.mark.slow
def test_a_plain_network_that_says_so_has_no_head():
    net = timm.create_model('test_resnet', num_classes=0)
    scale = {'mean': [0.5] * 3, 'std': [0.5] * 3}
    output, clean = torch.rand(2, 2, 3, 64, 64)
    vectors = [net.eval()((images - 0.5) / 0.5) for images in (output, clean)]
    loss = RecogFeatureLoss(net, **scale)
    torch.testing.assert_close(loss.recognizer.features(clean), vectors[1], rtol=1e-3, atol=1e-4)
    found = RecogConsistencyLoss(net, reduction='none', **scale)(output, clean)
    torch.testing.assert_close(found, 1 - torch.cosine_similarity(*vectors), atol=1e-5, rtol=1e-3)
    with pytest.raises(ValueError, match='no loss against labels'):
        RecogLoss(net, **scale)
    by_path = {'type': 'ModuleRecognizer', 'module': 'timm.create_model', 'pretrained': False, **scale,
               'module_kwargs': {'model_name': 'test_resnet', 'num_classes': 0}}
    assert build_recognizer(by_path).info.task == 'embedding'
    for cls, arguments in ((ModuleRecognizer, {'task': 'classification', **scale}),
                           (ClassificationRecognizer, {'info': RecognizerInfo('net', 'classification')})):
        with pytest.raises(TaskError, match=rf'^{cls.__name__}\(\w+\): it has no head.*task: embedding'):
            cls(net, **arguments)


@pytest.mark.slow
def test_features_of_a_plain_network_are_compared_once_its_task_is_given():
    """Nothing but the task says that they are no logits."""
    net = torchvision.models.resnet18(weights=None)
    net.fc = torch.nn.Identity()
    scale = {'mean': [0.5] * 3, 'std': [0.5] * 3}
    output, clean = torch.rand(2, 1, 3, 64, 64)
    assert RecogConsistencyLoss(net, **scale).recognizer.info.num_classes == 512  # as documented
    found = RecogConsistencyLoss(net, **scale, task='embedding')(output, clean)
    vectors = [net.eval()((images - 0.5) / 0.5) for images in (output, clean)]
    torch.testing.assert_close(found, 1 - torch.cosine_similarity(*vectors).squeeze(), atol=1e-5, rtol=1e-3)


# What it computes in

def a_torchvision_recognizer(folder):
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), folder / 'net.pth')
    return build_recognizer({'type': 'TorchvisionRecognizer', 'model_name': 'resnet18', 'input_size': 64,
                             'checkpoint': str(folder / 'net.pth')})


@pytest.mark.slow
@pytest.mark.parametrize('make', [
    lambda _: build_recognizer(timm_block()), a_torchvision_recognizer,
    lambda _: ModuleRecognizer(GrayNet(3), mean=[0] * 3, std=[1] * 3),
    lambda _: ModuleRecognizer(GrayNet(3), mean=[0] * 3, std=[1] * 3, feature_layer='conv'),
    lambda _: ClassificationRecognizer(GrayNet(3), RecognizerInfo('gray', 'classification')),
    lambda _: build_recognizer(timm_block(num_classes=0)),
], ids=['timm', 'torchvision', 'module', 'feature_layer', 'classifier', 'embedding'])
def test_features_are_computed_in_the_recognizers_precision(make, tmp_path):
    recognizer = make(tmp_path)
    recognizer.autocast_to, seen = torch.bfloat16, set()
    for module in recognizer.model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda _, args, output: seen.add(output.dtype))
    features = recognizer.features(torch.rand(1, 3, 64, 64))
    assert seen == {torch.bfloat16} and features.dtype == torch.float32


# classes of your own

@pytest.mark.parametrize(('task', 'facts'), [('classification', (True, True, False)),
                                             ('segmentation', (True, True, True)), ('detection', (False, False, True))])
def test_a_class_derived_from_recognizer_alone_is_what_its_task_says(task, facts):
    class Own(Recognizer):
        def __init__(self):
            super().__init__(nn.Conv2d(3, 4, 1), RecognizerInfo(name='own', task=task, num_classes=4))

    recognizer = Own()
    assert (recognizer.batch_independent, recognizer.smooth_loss, recognizer.spatial_labels) == facts
