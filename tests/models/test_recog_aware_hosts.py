"""Model classes that support recognition losses take their own step with the loss added."""
import copy
import inspect
import random
import re
import sys
import textwrap

import mm_configs as small
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from basicsr.models.base_model import BaseModel
from basicsr.models.esrgan_model import ESRGANModel
from basicsr.models.sr_model import SRModel
from basicsr.utils.registry import MODEL_REGISTRY
from torch import nn

from ra_plugin.models.builder import run_ready
from ra_plugin.models.recog_aware_model import recog_aware
from ra_plugin.options import OptionError
from ra_plugin.recognizers import Recognizer


class SmoothClassifier(nn.Module):
    """Smooth classifier with equal weights in each build."""

    def __init__(self, num_classes: int = 10):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(7)
            self.net = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.Tanh(),
                                     nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, num_classes))

    def forward(self, x):
        return self.net(x)


RECOGNIZER = {'type': 'ModuleRecognizer', 'module': f'{__name__}.SmoothClassifier', 'mean': [0.4, 0.5, 0.6],
              'std': [0.2, 0.2, 0.3]}
RECOG = {'type': 'RecogLoss', 'loss_weight': 0.1, 'recognizer': RECOGNIZER}


# ------------------------------------------------------------------------------------------------- the classes
class ClippedModel(SRModel):
    """Model with a user's own step: another regularizer, clipped gradients, other names."""

    def optimize_parameters(self, current_iter):
        self.optimizer_g.zero_grad()
        self.output = self.net_g(self.lq)
        fidelity = self.cri_pix(self.output, self.gt)
        loss = fidelity + 0.1 * self.output.diff(dim=-1).abs().mean()
        loss.backward()
        nn.utils.clip_grad_norm_(self.net_g.parameters(), 0.05)
        self.optimizer_g.step()
        self.log_dict = self.reduce_loss_dict({'l_pix': fidelity})


class DarkerModel(ESRGANModel):
    """Model with a user's own output and the step of a class of BasicSR."""

    def feed_data(self, data):
        super().feed_data({**data, 'lq': 0.5 * data['lq']})


MSRRESNET = {'type': 'MSRResNet', 'num_feat': 4, 'num_block': 1, 'upscale': 2}
SWINIR = {'type': 'SwinIR', 'upscale': 2, 'img_size': 8, 'window_size': 4, 'embed_dim': 6, 'depths': [2],
          'num_heads': [2], 'upsampler': 'pixelshuffle', 'resi_connection': '1conv', 'drop_path_rate': 0.3}
RRDBNET = {'type': 'RRDBNet', 'num_in_ch': 3, 'num_out_ch': 3, 'scale': 2, 'num_feat': 4, 'num_block': 1,
           'num_grow_ch': 4}
HIFACEGAN = {'type': 'HiFaceGAN', 'num_feat': 2, 'crop_size': 64, 'norm_g': 'spectralspadebatch3x3', 'is_train': False}
UNET_D = {'type': 'UNetDiscriminatorSN', 'num_in_ch': 3, 'num_feat': 4}
GAN = {'gan_opt': {'type': 'GANLoss', 'gan_type': 'vanilla', 'loss_weight': 0.1},
       'optim_d': {'type': 'Adam', 'lr': 1e-3}}
REALESR = {
    'queue_size': 4, 'gt_size': 32, 'gt_usm': True, 'l1_gt_usm': True, 'percep_gt_usm': True, 'gan_gt_usm': False,
    'resize_prob': [.2, .7, .1], 'resize_range': [.7, 1.2], 'gaussian_noise_prob': .5, 'noise_range': [1, 5],
    'poisson_scale_range': [.05, .1], 'gray_noise_prob': .4, 'jpeg_range': [80, 95], 'second_blur_prob': .8,
    'resize_prob2': [.3, .4, .3], 'resize_range2': [.7, 1.2], 'gaussian_noise_prob2': .5, 'noise_range2': [1, 5],
    'poisson_scale_range2': [.05, .1], 'gray_noise_prob2': .4, 'jpeg_range2': [80, 95]}
LATE_G = {'net_d_iters': 2, 'net_d_init_iters': 1}  # the generator learns in iterations 2 and 4
HOSTS = {  # class, network_g, further train options, further options
    'SRModel': ('SRModel', MSRRESNET, {'ema_decay': 0.9}, {}),
    'SwinIRModel': ('SwinIRModel', SWINIR, {}, {}),
    'SRGANModel': ('SRGANModel', MSRRESNET, GAN, {'network_d': UNET_D}),
    'SRGANModel, late': ('SRGANModel', MSRRESNET, {**GAN, **LATE_G}, {'network_d': UNET_D}),
    'ESRGANModel': ('ESRGANModel', RRDBNET, {**GAN, 'ema_decay': 0.9}, {'network_d': UNET_D}),
    'ESRGANModel, late': ('ESRGANModel', RRDBNET, {**GAN, **LATE_G}, {'network_d': UNET_D}),
    'RealESRNetModel': ('RealESRNetModel_basicsr', RRDBNET, {}, REALESR),
    'RealESRGANModel': ('RealESRGANModel_basicsr', RRDBNET, {**GAN, 'ema_decay': 0.9},
                        {**REALESR, 'network_d': UNET_D}),
    'RealESRGANModel, LDL, late': ('RealESRGANModel_basicsr', RRDBNET,
                                   {**GAN, **LATE_G, 'ema_decay': 0.9, 'ldl_opt': {'type': 'L1Loss'}},
                                   {**REALESR, 'network_d': UNET_D}),
    'HiFaceGANModel': ('HiFaceGANModel', HIFACEGAN, {
        **GAN, **LATE_G, 'gan_opt': {'type': 'MultiScaleGANLoss', 'gan_type': 'lsgan'}},
        {'network_d': {'type': 'HiFaceGANDiscriminator', 'num_feat': 4}, 'scale': 1}),
    'a third party step': (ClippedModel, MSRRESNET, {}, {}),
    'a third party GAN': (DarkerModel, MSRRESNET, GAN, {'network_d': UNET_D}),
}


def host_class(host) -> type:
    return host if isinstance(host, type) else MODEL_REGISTRY.get(host)


def options(name, **train) -> dict:
    _, network_g, train_opt, more = HOSTS[name]
    return copy.deepcopy({
        'name': 'test', 'base_model_type': name, 'num_gpu': 0, 'dist': False, 'rank': 0, 'world_size': 1,
        'is_train': True, 'scale': 2, 'network_g': network_g, 'path': {}, 'val': {'metrics': {}}, **more,
        'train': {'optim_g': {'type': 'Adam', 'lr': 1e-3},
                  'scheduler': {'type': 'MultiStepLR', 'milestones': [3], 'gamma': 0.1},
                  'pixel_opt': {'type': 'MSELoss', 'loss_weight': 1.0, 'reduction': 'mean'}, **train_opt, **train},
    })


def batches(count, name) -> list[dict]:
    """Return batches of two; for Real-ESRGAN clean images and kernels."""
    generator = torch.Generator().manual_seed(1)
    found = []
    for _ in range(count):
        size = 48 if 'Real' in name else 64 if 'HiFace' in name else 16
        batch = {'gt': torch.rand(2, 3, size, size, generator=generator),
                 'label': torch.randint(0, 10, (2,), generator=generator), 'gt_path': ['a', 'b']}
        if 'Real' in name:
            kernel = torch.zeros(2, 21, 21)
            kernel[:, 10, 10] = 1
            batch.update(dict.fromkeys(('kernel1', 'kernel2', 'sinc_kernel'), kernel))
        else:
            batch['lq'] = F.avg_pool2d(batch['gt'], 2) if 'HiFace' not in name else batch['gt'].flip(2)
        found.append(batch)
    return found


def seed_everything():
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)


def with_term(cls: type) -> type:
    """Return the class with one line added to the source of its step: ``self.term()`` after the pixel loss."""
    owner = next(base for base in cls.__mro__ if 'optimize_parameters' in vars(base))
    source = textwrap.dedent(inspect.getsource(owner.optimize_parameters))
    source, count = re.subn(r'^( +)(\w+) = self\.cri_pix\(.*\)$', r'\g<0>\n\1\2 = \2 + self.term()', source, flags=re.M)
    assert count == 1
    names = dict(vars(sys.modules[owner.__module__]))
    exec(source, names)
    return type('WithTerm', (cls,), {'optimize_parameters': names['optimize_parameters']})


def steps(model, dtype, data, label_of):
    """Train on the batches and yield after each; ``label_of(model, batch)`` is called before each step."""
    networks = [net for key, net in vars(model).items() if key.startswith('net_') and isinstance(net, nn.Module)]
    for net in networks:
        net.to(dtype)
    for i, batch in enumerate(data, 1):
        model.update_learning_rate(i)
        model.feed_data(batch)
        for key in ('lq', 'gt', 'gt_usm'):  # what is random in feed_data is made in float32
            if hasattr(model, key):
                setattr(model, key, getattr(model, key).to(dtype))
        label_of(model, batch)
        model.optimize_parameters(i)
        yield networks


@pytest.mark.slow
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('name', HOSTS)
def test_training_is_the_class_s_own_with_the_term_inserted_bit_for_bit(name, dtype, monkeypatch):
    monkeypatch.setattr(Recognizer, 'fold_batch_norm', lambda self: None)  # as the classifier below, to the bit
    cls = host_class(HOSTS[name][0])
    data = batches(4, name)
    seed_everything()
    model = recog_aware(cls)(options(name, recog_opt=RECOG, channels_last=False))
    model.cri_recog.to(dtype)
    labels = []
    ours = steps(model, dtype, data, lambda model, batch: labels.append(model.label))
    ours = [[copy.deepcopy({**net.state_dict(), **{f'{key}.grad': p.grad for key, p in net.named_parameters()}})
             for net in networks] for networks in ours]
    random_state = torch.get_rng_state()

    classifier = SmoothClassifier().to(dtype).eval().requires_grad_(False)
    mean, std = (torch.tensor(RECOGNIZER[key]).to(dtype).view(1, 3, 1, 1) for key in ('mean', 'std'))

    def term():
        logits = classifier((plain.output - mean) / std)
        return 0.1 * F.cross_entropy(logits, plain.label, reduction='none').mean()

    seed_everything()
    plain = with_term(cls)(options(name))
    plain.term = term
    remaining = iter(labels)
    theirs = steps(plain, dtype, data, lambda model, batch: setattr(model, 'label', next(remaining)))
    for expected, networks in zip(ours, theirs, strict=True):
        for own, net in zip(expected, networks, strict=True):
            for key, value in net.state_dict().items():
                assert torch.equal(own[key], value), key
            for key, parameter in net.named_parameters():
                got = own[f'{key}.grad']
                assert got is parameter.grad is None or torch.equal(got, parameter.grad), key
    assert torch.equal(random_state, torch.get_rng_state())
    assert model.get_current_log()['l_recog'] > 0


@pytest.mark.parametrize('name', [name for name, model in MODEL_REGISTRY if isinstance(model, type)])
def test_each_class_of_basicsr_hosts_the_loss_or_says_in_one_line_that_it_cannot(name):
    cls = MODEL_REGISTRY.get(name)
    if any(host_class(host[0]) is cls for host in HOSTS.values()):
        assert issubclass(recog_aware(cls), cls)
        return
    assert re.search('Video|EDVR|StyleGAN', name)
    with pytest.raises(OptionError) as caught:
        recog_aware(cls)
    reason = ('it has no get_current_visuals(), self.lq, self.gt, self.cri_pix. Add them, or derive it from SRModel.'
              if 'StyleGAN' in name else 'it is for videos, whose images have a dimension more than recognizers take. '
              'Train on single images, with SRModel or a class derived from it.')
    assert str(caught.value) == f'model_type: {cls.__name__} does not support recognition losses: {reason}'


def test_a_class_beside_srmodel_that_has_all_of_it_is_trained_as_srmodel_is():
    """The source of SRModel under another name is no class derived from it."""
    names = dict(vars(sys.modules[SRModel.__module__]))
    exec(textwrap.dedent(inspect.getsource(SRModel)).replace('SRModel', 'AloneModel').replace(
        '@MODEL_REGISTRY.register()\n', ''), names)
    alone = names['AloneModel']
    assert not issubclass(alone, SRModel)
    trained = []
    for cls in (alone, SRModel):
        seed_everything()
        model = run_ready(recog_aware(cls))(options('SRModel', recog_opt=RECOG))
        for i, batch in enumerate(batches(2, ''), 1):
            model.feed_data(batch)
            model.optimize_parameters(i)
        assert model.get_current_log()['l_recog'] > 0
        trained.append(model.net_g.state_dict())
    assert all(torch.equal(value, trained[1][key]) for key, value in trained[0].items())


@pytest.mark.parametrize('method, lacks', [('feed_data', 'feed_data()'), ('setup_optimizers', 'setup_optimizers()'),
                                           ('optimize_parameters', 'optimize_parameters()')])
def test_what_a_class_of_ones_own_lacks_is_named(method, lacks):
    methods = {key: value for key, value in vars(SRModel).items() if inspect.isfunction(value) and key != method}
    with pytest.raises(OptionError, match=rf'OwnModel does not .*: it has no {re.escape(lacks)}.*derive it from SRMo'):
        recog_aware(type('OwnModel', (BaseModel,), methods))
    with pytest.raises(OptionError, match="Plain does not .*: it is not derived from BasicSR's BaseModel"):
        recog_aware(type('Plain', (), methods))


def test_a_step_that_does_not_call_its_pixel_loss_is_refused_before_it_changes_anything():

    class NoPixelLoss(SRModel):

        def optimize_parameters(self, current_iter):
            self.optimizer_g.zero_grad()
            self.output = self.net_g(self.lq)
            (self.output - self.gt).abs().mean().backward()
            self.optimizer_g.step()

    model = recog_aware(NoPixelLoss)(options('SRModel', recog_opt=RECOG))
    before = copy.deepcopy(model.net_g.state_dict())
    model.feed_data(batches(1, '')[0])
    with pytest.raises(RuntimeError, match='NoPixelLoss: its step does not call cri_pix'):
        model.optimize_parameters(1)
    assert all(torch.equal(value, before[key]) for key, value in model.net_g.state_dict().items())


# ---------------------------------------------------------------------------------- the pair pool of Real-ESRGAN
@pytest.mark.slow
@pytest.mark.parametrize('name', ['RealESRNetModel', 'RealESRGANModel'])
def test_labels_stay_with_their_images_in_the_pair_pool(name):
    """The label of an image is its gray value; draws and images of the class do not change."""
    cls = host_class(HOSTS[name][0])
    with_labels, without = recog_aware(cls)(options(name, recog_opt=RECOG)), cls(options(name))
    with_labels.queue_size = without.queue_size = 6
    data, generator = batches(26, name), torch.Generator().manual_seed(2)
    for batch in data:
        batch['label'] = torch.randint(0, 10, (2,), generator=generator)
        batch['gt'] = (batch['label'].view(2, 1, 1, 1) / 10 + 0.02).expand(2, 3, 48, 48).clone()
    images = {}
    for model in (with_labels, without):
        seed_everything()
        images[model] = []
        for batch in data:
            model.feed_data(batch)
            images[model].append((model.lq.clone(), model.gt.clone()))
            if model is with_labels:
                assert model.label.tolist() == [int(image.mean() * 10) for image in model.gt]
                assert torch.allclose(model.lq.mean((1, 2, 3)), model.label / 10 + 0.02, atol=0.05)
        images[model].append((torch.get_rng_state(), torch.empty(0)))
    for ours, theirs in zip(images[with_labels], images[without], strict=True):
        assert all(map(torch.equal, ours, theirs))
    moved = sum(not torch.allclose(gt[:, 0, 0, 0], batch['gt'][:, 0, 0, 0])
                for (_, gt), batch in zip(images[without][:len(data)], data, strict=True))
    assert moved > 15  # else keeping labels would be no feat


def test_a_pair_pool_with_a_draw_of_its_own_is_refused():

    class OtherPool(MODEL_REGISTRY.get('RealESRNetModel_basicsr')):

        def _dequeue_and_enqueue(self):
            super()._dequeue_and_enqueue()
            torch.rand(1)

    model = recog_aware(OtherPool)(options('RealESRNetModel', recog_opt=RECOG))
    with pytest.raises(RuntimeError, match='does not draw its order as in BasicSR.*RecogConsistencyLoss'):
        for batch in batches(3, 'Real'):
            model.feed_data(batch)


@pytest.mark.slow
def test_labels_that_cannot_follow_the_crop_are_refused_early(tmp_path):
    config = small.write_config(tmp_path / 'fcn.py', small.FCN, 'mmseg')
    block = {'type': 'MMSegRecognizer', 'config': config, 'pretrained': False}
    opt = options('RealESRNetModel', recog_opt={**RECOG, 'recognizer': block})
    cls = MODEL_REGISTRY.get('RealESRNetModel_basicsr')
    with pytest.raises(OptionError, match='needs labels of segmentation, but RealESRNetModel crops') as caught:
        recog_aware(cls)(copy.deepcopy(opt))
    assert '\n' not in str(caught.value)
    recog_aware(cls)({**copy.deepcopy(opt), 'high_order_degradation': False})  # then it takes images as they are
    opt['train']['recog_opt']['type'] = 'RecogConsistencyLoss'
    recog_aware(cls)(opt)


# --------------------------------------------------------------------------------------- images of other kinds
class Items(torch.utils.data.Dataset):
    """Data set of pairs with labels."""

    def __init__(self, opt, items):
        self.opt, self.items = {'name': 'items', 'phase': 'val', **opt}, items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


KINDS = {  # channels, options of the data set, what a person's image is to the network, and back
    'luma': (1, {'color': 'y'}, lambda image: (219 * image.mean(1, keepdim=True) + 16) / 255,
             lambda own: ((255 * own - 16) / 219).expand(-1, 3, -1, -1)),
    'normalized': (3, {'mean': [0.5, 0.4, 0.3], 'std': [0.5, 0.6, 0.7]}, lambda image: (image - MEAN) / STD,
                   lambda own: own * STD + MEAN),
}
MEAN, STD = (torch.tensor(values).view(1, 3, 1, 1) for values in ([0.5, 0.4, 0.3], [0.5, 0.6, 0.7]))


@pytest.mark.slow
@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('loss', [{'type': 'RecogLoss'}, {'type': 'RecogConsistencyLoss', 'distance': 'probability'}],
                         ids=['RecogLoss', 'RecogConsistencyLoss'])
def test_recognizers_are_given_rgb_in_0_to_1_whatever_the_network_works_on(kind, loss):
    channels, dataset, to_network, to_rgb = KINDS[kind]
    opt = options('SRModel', recog_opt={**RECOG, **loss})
    opt['network_g'] = {'type': 'ECBSR', 'num_in_ch': channels, 'num_out_ch': channels, 'num_block': 1,
                        'num_channel': 4, 'with_idt': False, 'act_type': 'prelu', 'scale': 2}
    opt['datasets'] = {'train': dataset}
    opt['val'].update(recognizers={'x': RECOGNIZER}, recognition_metrics={'classification': ['top1']})
    model = recog_aware(SRModel)(opt)
    net, classifier = copy.deepcopy(model.net_g), SmoothClassifier().eval()
    mean, std = (torch.tensor(RECOGNIZER[key]).view(1, 3, 1, 1) for key in ('mean', 'std'))

    def answers(own):
        return classifier((to_rgb(own) - mean) / std)

    batch = batches(1, '')[0]
    batch.update({key: to_network(batch[key]) for key in ('lq', 'gt')})
    model.feed_data(batch)
    model.optimize_parameters(1)
    output = net(batch['lq'])
    if loss['type'] == 'RecogLoss':
        extra = 0.1 * F.cross_entropy(answers(output), batch['label'])
    else:
        extra = 0.1 * (answers(output).softmax(1) - answers(batch['gt']).softmax(1)).square().mean()
    (F.mse_loss(output, batch['gt']) + extra).backward()
    assert model.get_current_log()['l_recog'] == pytest.approx(extra.item(), rel=1e-5)
    for ours, theirs in zip(model.net_g.parameters(), net.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)

    images = to_network(torch.rand(20, 3, 8, 8) * torch.rand(20, 1, 1, 1))
    items = [{'lq': image, 'gt': image.repeat(1, 2, 2), 'lq_path': f'{i}.png', 'gt_path': f'{i}.png'}
             for i, image in enumerate(images)]
    net = model.net_g_ema.eval()
    with torch.no_grad():
        saved = [(to_rgb(net(item['lq'][None])).clamp(0, 1) * 255).round() / 255 for item in items]
        found = [int(classifier((image - mean) / std).argmax()) for image in saved]
    for i, item in enumerate(items):
        item['label'] = found[i] if i % 3 else (found[i] + 1) % 10
    model.validation(torch.utils.data.DataLoader(Items(dataset, items), 4), 1, None)
    assert model.metric_results['top1_x'] == pytest.approx(13 / 20)


@pytest.mark.slow
def test_hifacegan_is_judged_although_it_has_a_validation_of_its_own():
    opt = options('HiFaceGANModel', recog_opt=RECOG)
    opt['val'].update(recognizers={'x': RECOGNIZER}, metrics={'psnr': {'type': 'calculate_psnr', 'crop_border': 0}})
    model = recog_aware(MODEL_REGISTRY.get('HiFaceGANModel'))(opt)
    images = torch.rand(3, 3, 64, 64)
    items = [{'lq': image, 'gt': image, 'label': 1, 'lq_path': 'a', 'gt_path': 'a'} for image in images]
    model.validation(torch.utils.data.DataLoader(Items({}, items), 2), 1, None)
    assert set(model.metric_results) == {'psnr', 'top1_x', 'top5_x'}
