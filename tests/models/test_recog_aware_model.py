"""RecogAwareModel against hand-written training steps, bit for bit; transformer, validation, saving, resuming."""
import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import ra_plugin.basicsr  # noqa: F401  # isort: skip  (registers, and patches BasicSR, which has to come first)
from basicsr.archs import build_network  # isort: skip
from basicsr.models import build_model  # isort: skip
from basicsr.train import load_resume_state  # isort: skip

from ra_plugin.models.recog_aware_model import recog_aware
from ra_plugin.models.recog_validation import recognizable
from ra_plugin.options import OptionError
from ra_plugin.recognizers import Recognizer, build_recognizer


class SmallClassifier(nn.Module):
    """Classifier with deterministic weights, batch norm and dropout."""

    def __init__(self, seed: int = 7):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.net = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.Tanh(), nn.Dropout(0.5),
                                     nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))

    def forward(self, x):
        return self.net(x)


RECOGNIZER = {'type': 'ModuleRecognizer', 'module': f'{__name__}.SmallClassifier', 'mean': [0.4, 0.5, 0.6],
              'std': [0.2, 0.2, 0.3]}
RECOG = {'type': 'RecogLoss', 'loss_weight': 0.1, 'recognizer': RECOGNIZER}
UNSUPERVISED = {'type': 'RecogConsistencyLoss', 'distance': 'probability', 'loss_weight': 0.3,
                'recognizer': RECOGNIZER}
NETWORK_G = {'type': 'SRResNet', 'num_feat': 8, 'num_block': 1, 'upscale': 2}
NETWORK_T = {'type': 'ResnetGenerator', 'num_feat': 4, 'num_block': 1}


def options(tmp_path, base='SRModel', **train) -> dict:
    paths = {key: str(tmp_path / key) for key in ('models', 'training_states', 'visualization')}
    for path in paths.values():
        (tmp_path / path).mkdir(exist_ok=True)
    return {
        'name': 'test', 'model_type': 'RecogAwareModel' if base else 'SRModel', 'base_model_type': base or 'SRModel',
        'num_gpu': 0, 'dist': False, 'rank': 0, 'world_size': 1, 'is_train': True, 'scale': 2, 'auto_resume': False,
        'network_g': dict(NETWORK_G), 'path': paths, 'val': {'metrics': {}},
        'train': {'optim_g': {'type': 'Adam', 'lr': 1e-3},
                  'scheduler': {'type': 'MultiStepLR', 'milestones': [3], 'gamma': 0.1},
                  'pixel_opt': {'type': 'MSELoss', 'loss_weight': 1.0, 'reduction': 'mean'}, **train},
    }


def build(opt: dict):
    torch.manual_seed(0)
    return build_model(opt)


def batches(count: int = 4, dtype=torch.float32) -> list[dict]:
    generator = torch.Generator().manual_seed(1)
    return [{'lq': torch.rand(4, 3, 8, 8, generator=generator, dtype=dtype),
             'gt': torch.rand(4, 3, 16, 16, generator=generator, dtype=dtype),
             'label': torch.randint(0, 10, (4,), generator=generator),
             'lq_path': list('abcd'), 'gt_path': list('abcd')} for _ in range(count)]


def train(model, data) -> None:
    for i, batch in enumerate(data, 1):
        model.update_learning_rate(i)
        model.feed_data(batch)
        model.optimize_parameters(i)


def assert_equal_weights(a: nn.Module, b: nn.Module) -> None:
    b = b.state_dict()
    assert all(torch.equal(value, b[key]) for key, value in a.state_dict().items())


@pytest.mark.slow
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('block', [RECOG, UNSUPERVISED], ids=['supervised', 'unsupervised'])
@pytest.mark.parametrize('with_ratio', [False, True], ids=['', 'grad_ratio'])
def test_training_equals_a_hand_written_step(tmp_path, block, dtype, with_ratio, monkeypatch):
    """Equal bit for bit with the recognizer's original layout, and up to rounding with the fastest one."""
    fast = build(options(tmp_path, recog_opt=block, log_grad_ratio=with_ratio))
    with monkeypatch.context() as patch:
        patch.setattr(Recognizer, 'fold_batch_norm', lambda self: None)
        model = build(options(tmp_path, recog_opt=block, log_grad_ratio=with_ratio, channels_last=False))
    assert fast.cri_recog[0].recognizer.folded_norms and not model.cri_recog[0].recognizer.folded_norms
    for each in (model, fast):
        each.net_g.to(dtype), each.cri_recog.to(dtype)
        train(each, batches(dtype=dtype))

    torch.manual_seed(0)
    net = build_network(dict(NETWORK_G)).to(dtype).train()
    recognizer = SmallClassifier().to(dtype).eval().requires_grad_(False)
    mean, std = (torch.tensor(RECOGNIZER[key]).to(dtype).view(1, 3, 1, 1) for key in ('mean', 'std'))
    adam = torch.optim.Adam(net.parameters(), 1e-3)
    for i, batch in enumerate(batches(dtype=dtype), 1):
        for group in adam.param_groups:
            group['lr'] = 1e-3 if i < 4 else 1e-3 * 0.1  # the schedule steps from iteration 2 on
        output = net(batch['lq'])
        logits = recognizer((output - mean) / std)
        if block is RECOG:
            extra = 0.1 * F.cross_entropy(logits, batch['label'], reduction='none').mean()
        else:
            reference = recognizer((batch['gt'] - mean) / std).softmax(1)
            extra = 0.3 * (logits.softmax(1) - reference).square().mean(1).mean()
        adam.zero_grad()
        (F.mse_loss(output, batch['gt']) + extra).backward()
        adam.step()
    for ours, theirs in zip(model.net_g.parameters(), net.parameters(), strict=True):
        assert torch.equal(ours.grad, theirs.grad)
    assert_equal_weights(model.net_g, net)
    quick, exact = (torch.cat([p.grad.flatten() for p in each.parameters()]) for each in (fast.net_g, net))
    assert (quick - exact).norm() <= (1e-3 if dtype == torch.float32 else 1e-6) * exact.norm()


def test_log_has_both_losses_apart_and_the_gradient_ratio(tmp_path):
    model = build(options(tmp_path, recog_opt=RECOG, log_grad_ratio=True))
    batch = batches(1)[0]
    model.feed_data(batch)
    before = copy.deepcopy(model.net_g)
    model.optimize_parameters(1)
    log = model.get_current_log()

    output = before(batch['lq']).detach().requires_grad_()
    pixel = F.mse_loss(output, batch['gt'])
    recog = 0.1 * build_recognizer(RECOGNIZER).loss(output, batch['label'])['cross_entropy'].mean()
    norms = [torch.autograd.grad(loss, output)[0].norm() for loss in (recog, pixel)]
    assert log['l_pix'] == pytest.approx(pixel.item(), rel=1e-6)
    assert log['l_recog'] == pytest.approx(recog.item(), rel=1e-6)
    assert log['recog_grad_ratio'] == pytest.approx((norms[0] / norms[1]).item(), rel=1e-5)


def test_a_list_of_blocks_adds_up(tmp_path):
    both = build(options(tmp_path, recog_opt=[RECOG, UNSUPERVISED]))
    both.feed_data(batches(1)[0])
    both.optimize_parameters(1)
    log = both.get_current_log()
    assert log['l_recog'] == pytest.approx(log['l_recog_0'] + log['l_recog_1'], rel=1e-6)
    assert log['l_recog_0'] > 0 and log['l_recog_1'] > 0


@pytest.mark.parametrize('normalized', [False, True], ids=['', 'mean and std'])
def test_losses_share_the_resizes_of_the_restored_and_of_the_clean_images(tmp_path, monkeypatch, normalized):
    sized = {**RECOGNIZER, 'input_size': 12}
    blocks = [{**block, 'recognizer': sized} for block in (RECOG, UNSUPERVISED, UNSUPERVISED)]
    opt = options(tmp_path, recog_opt=blocks)
    if normalized:
        opt['datasets'] = {'train': {'mean': [0.1, 0.2, 0.3], 'std': [0.5, 0.6, 0.7]}}
    model = build(opt)
    batch = batches(1)[0]
    model.feed_data(batch)
    output = torch.rand(4, 3, 16, 16, requires_grad=True)
    resized = []

    def interpolate(images, size, original=F.interpolate, **kwargs):
        resized.append(images)
        return original(images, size, **kwargs)

    monkeypatch.setattr(F, 'interpolate', interpolate)
    gradient = torch.autograd.grad(model.recognition_loss(output)[0], output)[0]
    assert len(resized) == 2
    shown, clean = (recognizable(images, opt['datasets']['train'] if normalized else {})
                    for images in (output, batch['gt']))
    apart = sum(cri(shown, batch['label'] if cri.needs == 'label' else clean) for cri in model.cri_recog)
    assert len(resized) == 2 + 1 + 2 + 2
    torch.testing.assert_close(gradient, torch.autograd.grad(apart, output)[0])


def test_without_a_pixel_loss_only_the_recognizer_teaches(tmp_path):
    opt = options(tmp_path, recog_opt=RECOG)
    del opt['train']['pixel_opt']
    model = build(opt)
    before = copy.deepcopy(model.net_g)
    batch = batches(1)[0]
    model.feed_data(batch)
    model.optimize_parameters(1)
    assert list(model.get_current_log()) == ['l_recog']
    loss = 0.1 * build_recognizer(RECOGNIZER).loss(before(batch['lq']), batch['label'])['cross_entropy'].mean()
    loss.backward()
    for ours, theirs in zip(model.net_g.parameters(), before.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


def test_every_second_step_has_the_loss_at_twice_its_weight(tmp_path):
    model = build(options(tmp_path, recog_opt=RECOG, recog_every=2))
    plain = build(options(tmp_path, base=None))
    heavy = build(options(tmp_path, recog_opt={**RECOG, 'loss_weight': 2 * RECOG['loss_weight']}))
    for i, batch in enumerate(batches(), 1):
        other = plain if i % 2 else heavy
        other.net_g.load_state_dict(model.net_g.state_dict())
        for each in (model, other):
            each.feed_data(batch)
            each.optimize_parameters(i)
        assert ('l_recog' in model.get_current_log()) == (i % 2 == 0)
        for ours, theirs in zip(model.net_g.parameters(), other.net_g.parameters(), strict=True):
            torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-5, atol=1e-7)
    assert model.get_current_log()['l_recog'] == pytest.approx(heavy.get_current_log()['l_recog'] / 2, rel=1e-6)


def test_every_second_step_the_transformer_learns(tmp_path):
    opt = with_transformer(tmp_path)
    opt['train']['recog_every'] = 2
    model = build(opt)
    for i, batch in enumerate(batches(), 1):
        before = copy.deepcopy(model.net_t)
        model.feed_data(batch)
        model.optimize_parameters(i)
        changed = any(not torch.equal(a, b) for a, b in zip(model.net_t.parameters(), before.parameters(), strict=True))
        assert changed == (i % 2 == 0)


def with_transformer(tmp_path, **train_opt) -> dict:
    opt = options(tmp_path, recog_opt=RECOG, **train_opt)
    opt['network_t'] = dict(NETWORK_T)
    return opt


@pytest.mark.slow
def test_transformer_leaves_the_restorer_on_the_trajectory_of_plain_training(tmp_path):
    plain = build(options(tmp_path, base=None))
    model = build(with_transformer(tmp_path))
    start = copy.deepcopy(model.net_t)
    random_state = torch.get_rng_state()
    train(model, batches())
    assert torch.equal(random_state, torch.get_rng_state())
    train(plain, batches())
    assert_equal_weights(model.net_g, plain.net_g)
    for ours, theirs in zip(model.net_g.parameters(), plain.net_g.parameters(), strict=True):
        assert torch.equal(ours.grad, theirs.grad)
    assert all(not torch.equal(a, b) for a, b in zip(model.net_t.parameters(), start.parameters(), strict=True))


def test_transformer_step_equals_a_hand_written_one(tmp_path):
    model = build(with_transformer(tmp_path, optim_t={'type': 'SGD', 'lr': 0.5}))
    net_g, net_t = copy.deepcopy(model.net_g), copy.deepcopy(model.net_t)
    batch = batches(1)[0]
    model.feed_data(batch)
    model.optimize_parameters(1)
    recognizer = build_recognizer(RECOGNIZER).to(memory_format=torch.channels_last)  # bit for bit as in the run
    loss = 0.1 * recognizer.loss(net_t(net_g(batch['lq']).detach()), batch['label'])['cross_entropy'].mean()
    loss.backward()
    torch.optim.SGD(net_t.parameters(), 0.5).step()
    assert_equal_weights(model.net_t, net_t)
    assert model.get_current_log()['l_recog'] == pytest.approx(loss.item(), rel=1e-6)


def test_transformer_has_its_own_optimizer_and_schedule(tmp_path):
    model = build(with_transformer(tmp_path, optim_t={'type': 'AdamW', 'lr': 0.5},
                                   scheduler_t={'type': 'MultiStepLR', 'milestones': [1], 'gamma': 0.5}))
    train(model, batches(2))
    assert type(model.optimizers[-1]) is torch.optim.AdamW
    assert [o.param_groups[0]['lr'] for o in model.optimizers] == [1e-3, 0.25]


def to_resume(opt, root, iteration):
    """Return options that resume from a training state, and the state."""
    again = copy.deepcopy(opt)
    again['path']['resume_state'] = str(root / 'training_states' / f'{iteration}.state')
    return again, load_resume_state(again)  # which adds the networks' files to the options


@pytest.mark.slow
def test_transformer_is_saved_resumed_and_gives_an_image_for_machines(tmp_path):
    opt = with_transformer(tmp_path, scheduler_t={'type': 'MultiStepLR', 'milestones': [2], 'gamma': 0.5})
    whole, first = build(copy.deepcopy(opt)), build(copy.deepcopy(opt))
    train(whole, batches())
    train(first, batches()[:2])
    first.save(0, 2)

    again, state = to_resume(opt, tmp_path, 2)
    resumed = build_model(again)
    resumed.resume_training(state)
    for i, batch in enumerate(batches()[2:], 3):
        resumed.update_learning_rate(i)
        resumed.feed_data(batch)
        resumed.optimize_parameters(i)
    assert_equal_weights(resumed.net_t, whole.net_t)
    assert_equal_weights(resumed.net_g, whole.net_g)

    resumed.test()
    visuals = resumed.get_current_visuals()
    assert visuals['result'].shape == visuals['result_machine'].shape == (4, 3, 16, 16)
    assert torch.equal(visuals['result_machine'], resumed.net_t.eval()(visuals['result']))


class Items(torch.utils.data.Dataset):
    """Data set of eleven labeled images, which is not a multiple of the batch size."""

    opt = {'name': 'items', 'phase': 'val'}

    def __init__(self):
        self.items = [{key: value[i] for key, value in batch.items()} for batch in batches(3) for i in range(4)][:11]
        for i, item in enumerate(self.items):
            item['lq_path'] = item['gt_path'] = f'class/{i}.png'

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


@pytest.mark.slow
@pytest.mark.parametrize('transformer', [False, True], ids=['', 'transformer'])
def test_validation_in_batches_equals_image_by_image(tmp_path, transformer):
    opt = with_transformer(tmp_path) if transformer else options(tmp_path, recog_opt=RECOG)
    opt['val'] = {'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 0},
                              'ssim': {'type': 'calculate_ssim', 'crop_border': 0}},
                  'recognizers': {'small': RECOGNIZER, 'other': {**RECOGNIZER, 'module_kwargs': {'seed': 3}}}}
    results = []
    for batch_size in (4, 1):
        model = build(copy.deepcopy(opt))
        model.validation(torch.utils.data.DataLoader(Items(), batch_size), 5, None, save_img=True)
        results.append(model.metric_results)
    assert results[0] == pytest.approx(results[1])
    assert set(results[0]) == {'psnr', 'ssim', 'top1_small', 'top5_small', 'top1_other', 'top5_other'}

    model.net_g.eval()
    right1 = right5 = 0
    for item in Items().items:
        with torch.no_grad():
            image = model.net_g(item['lq'][None])
            image = model.net_t.eval()(image) if transformer else image
            saved = (image.clamp(0, 1) * 255).round() / 255
            order = build_recognizer(RECOGNIZER).logits(saved)[0].argsort(descending=True)
        right1 += int(order[0] == item['label'])
        right5 += int(item['label'] in order[:5])
    assert results[0]['top1_small'] == pytest.approx(right1 / 11)
    assert results[0]['top5_small'] == pytest.approx(right5 / 11)
    assert model.best_metric_results['items']['top1_small'] == {'better': 'higher', 'val': right1 / 11, 'iter': 5}
    files = sorted(path.name for path in (tmp_path / 'visualization').rglob('*.png'))
    assert '0_5.png' in files and ('0_5_machine.png' in files) == transformer


def test_realesrnet_is_validated_on_the_images_it_is_given(tmp_path):
    from basicsr.models.realesrnet_model import RealESRNetModel
    opt = options(tmp_path, recog_opt=UNSUPERVISED)
    opt['queue_size'] = 8
    opt['val']['metrics'] = {'psnr': {'type': 'calculate_psnr', 'crop_border': 0}}
    model = recog_aware(RealESRNetModel)(opt)
    data = Items()  # larger ones, for its sharpening takes a border of 25 pixels
    data.items = [{**item, 'lq': item['lq'].tile(1, 4, 4), 'gt': item['gt'].tile(1, 4, 4)} for item in data.items[:3]]
    model.validation(torch.utils.data.DataLoader(data, 2), 1, None, save_img=False)
    assert model.metric_results['psnr'] > 0 and model.is_train


def test_images_of_an_lmdb_are_saved_under_their_keys(tmp_path):
    model = build(options(tmp_path, recog_opt=RECOG))
    data = Items()
    data.opt = {**data.opt, 'dataroot_gt': str(tmp_path / 'x.lmdb')}
    model.validation(torch.utils.data.DataLoader(data, 4), 5, None, save_img=True)
    assert (tmp_path / 'visualization' / 'class' / '3' / '3_5.png').is_file()


def test_training_labels_are_not_held_against_the_judges(tmp_path):
    opt = options(tmp_path, recog_opt=UNSUPERVISED)
    opt['val']['recognizers'] = {'judge': RECOGNIZER}
    model = build(opt)
    model.feed_data({**batches(1)[0], 'label': torch.tensor([0, 1, 2, 999])})


def test_ema_network_is_validated_with_its_batch_norm_statistics(tmp_path):
    model = build(options(tmp_path, recog_opt=RECOG, ema_decay=0.9))
    train(model, batches())
    running = [key for key in model.net_g.state_dict() if key.endswith('running_mean')]
    for key in running:
        assert torch.equal(model.net_g_ema.state_dict()[key], model.net_g.state_dict()[key])


def test_labels_outside_the_recognizers_classes_are_refused(tmp_path):
    model = build(options(tmp_path, recog_opt=RECOG))
    batch = {**batches(1)[0], 'label': torch.tensor([0, 1, 2, 10])}
    with pytest.raises(ValueError, match=r'expected labels in 0\.\.9, got 0\.\.10'):
        model.feed_data(batch)


def test_the_unsupervised_loss_takes_images_of_any_classes(tmp_path):
    model = build(options(tmp_path, recog_opt=UNSUPERVISED))
    model.feed_data({**batches(1)[0], 'label': torch.tensor([0, 1, 2, 999])})
    model.optimize_parameters(1)
    assert model.get_current_log()['l_recog'] > 0


def test_a_data_set_without_labels_is_refused(tmp_path):
    model = build(options(tmp_path, recog_opt=RECOG))
    batch = batches(1)[0]
    del batch['label']
    model.feed_data(batch)
    with pytest.raises(OptionError, match='RecogLoss needs labels.*RecogConsistencyLoss'):
        model.optimize_parameters(1)


def test_a_step_that_uses_its_pixel_loss_twice_is_refused(tmp_path):
    from basicsr.models.sr_model import SRModel

    class Twice(SRModel):

        def optimize_parameters(self, current_iter):
            self.output = self.net_g(self.lq)
            (self.cri_pix(self.output, self.gt) + self.cri_pix(self.output, self.gt)).backward()

    opt = options(tmp_path, recog_opt=RECOG)
    model = recog_aware(Twice)(opt)
    model.feed_data(batches(1)[0])
    with pytest.raises(RuntimeError, match='calls cri_pix more than once'):
        model.optimize_parameters(1)
