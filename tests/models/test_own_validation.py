"""Recognizers are evaluated in a model class's own validation, which is unchanged."""
import copy

import pytest
import test_recog_aware_model as classify
import torch
import torch.nn.functional as F
from basicsr.metrics import calculate_metric
from basicsr.models.sr_model import SRModel
from basicsr.utils import get_root_logger, tensor2img
from basicsr.utils.registry import MODEL_REGISTRY
from torch.utils.data import DataLoader

from ra_plugin.builders.loaders import build_val_loaders
from ra_plugin.models.own_validation import has_own_validation
from ra_plugin.models.recog_aware_model import recog_aware
from ra_plugin.options import OptionError
from ra_plugin.recognizers import build_recognizer

METRICS = {'psnr': {'type': 'calculate_psnr', 'crop_border': 0}}
WINDOW = 5  # does not divide the 8 pixels of an image


class WindowModel(SRModel):
    """Model like HAT's, which pads to its window in its validation, while SRModel's ``test`` would fail."""

    views = 1

    def test(self):
        raise AssertionError('the validation of the class does not call it')

    def restore(self, image):
        height, width = image.shape[-2:]
        padded = F.pad(image, (0, -width % WINDOW, 0, -height % WINDOW), 'reflect')
        with torch.no_grad():
            return self.net_g(padded)[..., :2 * height, :2 * width]

    def nondist_validation(self, dataloader, current_iter, tb_logger, save_img):
        name, metrics = dataloader.dataset.opt['name'], self.opt['val'].get('metrics')
        if metrics:
            if not hasattr(self, 'metric_results'):
                self.metric_results = dict.fromkeys(metrics, 0)
            self._initialize_best_metric_results(name)
            self.metric_results = dict.fromkeys(self.metric_results, 0)  # of all that it finds there
        for data in dataloader:
            outputs = []
            for view in range(self.views):  # with two: the mean over the mirror image
                self.feed_data({**data, 'lq': data['lq'].flip(-1) if view else data['lq']})
                self.net_g.eval()
                outputs.append(self.restore(self.lq).flip(-1) if view else self.restore(self.lq))
                self.net_g.train()
            self.output = sum(outputs) / len(outputs)
            visuals = self.get_current_visuals()
            images = {'img': tensor2img([visuals['result']]), 'img2': tensor2img([visuals['gt']])}
            del self.lq, self.output, self.gt
            for key, options in (metrics or {}).items():
                self.metric_results[key] += calculate_metric(images, options)
        if metrics:
            for key in self.metric_results:
                self.metric_results[key] /= len(dataloader)
                self._update_best_metric_result(name, key, self.metric_results[key], current_iter)
            self._log_validation_metric_values(current_iter, name, tb_logger)


class TwoViewsModel(WindowModel):
    views = 2


class HiddenModel(SRModel):
    """Model whose validation shows no images to recognizers."""

    def nondist_validation(self, dataloader, current_iter, tb_logger, save_img):
        for data in dataloader:
            self.feed_data(data)
            self.test()


class OwnEntryModel(SRModel):
    """Model with its own entry point, which processes images in ``test``."""

    def validation(self, dataloader, current_iter, tb_logger, save_img=False):
        self.entered = True
        super().validation(dataloader, current_iter, tb_logger, save_img)


class Items(torch.utils.data.Dataset):
    opt = {'name': 'data', 'phase': 'val', 'type': 'x'}

    def __init__(self, count=6):
        self.items = [{key: value[i % 4] for key, value in batch.items()} for batch in classify.batches(2)
                      for i in range(4)][:count]

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


class Scalars(dict):
    """Replacement of TensorBoard's writer."""

    def __bool__(self):
        return True

    def add_scalar(self, name, value, iteration):
        self[name] = value


def options(tmp_path, metrics=METRICS, judges=True, **more):
    opt = classify.options(tmp_path, 'SRModel', recog_opt=classify.RECOG)
    opt['val'] = {'metrics': metrics, 'suffix': None}
    if judges:
        opt['val']['recognizers'] = {'judge': classify.RECOGNIZER}
    return {**opt, **more}


def built(cls, opt):
    torch.manual_seed(0)
    return cls(copy.deepcopy(opt))


def by_hand(model, views=1):
    """Return the 8-bit images of the class, and the recognizer's predictions on them."""
    judge = build_recognizer(classify.RECOGNIZER, 'test').to(memory_format=torch.channels_last)
    model.net_g.eval()
    hits = []
    for item in Items():
        lq = item['lq'][None]
        image = model.restore(lq)
        if views == 2:
            image = (image + model.restore(lq.flip(-1)).flip(-1)) / 2
        image = (image.clamp(0, 1) * 255).round() / 255
        hits.append(int(judge.logits(image).argmax(1) == item['label']))
    model.net_g.train()
    return sum(hits) / len(hits)


@pytest.mark.slow
@pytest.mark.parametrize('cls, views', [(WindowModel, 1), (TwoViewsModel, 2)])
def test_its_metrics_are_the_class_s_own_and_scores_join_them(cls, views, tmp_path, monkeypatch):
    opt, logged, scalars = options(tmp_path), [], Scalars()
    plain, ours = built(cls, options(tmp_path, judges=False)), built(recog_aware(cls), opt)
    monkeypatch.setattr(get_root_logger(), 'info', logged.append)
    for iteration in (1, 2):
        plain.validation(DataLoader(Items()), iteration, None)
        ours.validation(DataLoader(Items()), iteration, scalars)
        assert ours.metric_results['psnr'] == plain.metric_results['psnr']
        assert ours.metric_results['top1_judge'] == pytest.approx(by_hand(ours, views))
        assert set(ours.metric_results) == {'psnr', 'top1_judge', 'top5_judge'}
    assert scalars['metrics/data/top1_judge'] == ours.metric_results['top1_judge']
    said = [text for text in logged if 'top1_judge' in text]
    assert len(said) == 2 and all('psnr' in text for text in said)  # in the same entry of the log
    assert ours.best_metric_results['data']['psnr'] == plain.best_metric_results['data']['psnr']
    assert ours.best_metric_results['data']['top1_judge']['val'] == ours.metric_results['top1_judge']


def test_with_the_loss_alone_it_is_as_it_was(tmp_path):
    plain, ours = (built(cls, options(tmp_path, judges=False)) for cls in (WindowModel, recog_aware(WindowModel)))
    for model in (plain, ours):
        model.validation(DataLoader(Items()), 1, None)
    assert ours.metric_results == plain.metric_results


@pytest.mark.parametrize('metrics', [None, {}])
def test_without_metrics_of_its_own_the_scores_are_logged(metrics, tmp_path, monkeypatch):
    logged = []
    model = built(recog_aware(WindowModel), options(tmp_path, metrics))
    monkeypatch.setattr(get_root_logger(), 'info', logged.append)
    for iteration in (1, 2):
        model.validation(DataLoader(Items()), iteration, None)
        assert model.metric_results['top1_judge'] == pytest.approx(by_hand(model))
    assert len([text for text in logged if 'top1_judge' in text]) == 2


def test_the_transformer_makes_the_image_for_recognizers(tmp_path):
    model = built(recog_aware(WindowModel), options(tmp_path, network_t=classify.NETWORK_T))
    seen = []
    judge = model.eval_recognizers['judge']
    predict = judge.predict
    judge.predict = lambda images, **kwargs: seen.append(images) or predict(images, **kwargs)
    model.validation(DataLoader(Items()), 1, None)
    model.net_g.eval(), model.net_t.eval()
    with torch.no_grad():
        expected = [model.net_t(model.restore(item['lq'][None])).clamp(0, 1).mul(255).round() / 255 for item in Items()]
    assert len(seen) == len(expected) and all(map(torch.equal, seen, expected))


@pytest.mark.slow
def test_a_recognizer_that_learns_judges_in_inference_mode(tmp_path):
    learner = {**classify.RECOGNIZER, 'trainable': True}
    opt = options(tmp_path)
    opt['train']['recog_opt'] = {**classify.RECOG, 'recognizer': learner}
    opt['val']['recognizers'] = {'judge': learner}
    model = built(recog_aware(WindowModel), opt)
    before = copy.deepcopy(model.net_r.state_dict())
    model.validation(DataLoader(Items()), 1, None)
    torch.testing.assert_close(dict(model.net_r.state_dict()), dict(before), rtol=0, atol=0)
    assert model.net_r.training and model.metric_results['top1_judge'] == pytest.approx(by_hand(model))


def test_a_validation_that_shows_nothing_is_refused_before_training(tmp_path):
    with pytest.raises(OptionError, match='the validation of HiddenModel does not call get_current_v'):
        built(recog_aware(HiddenModel), options(tmp_path))
    built(recog_aware(HiddenModel), options(tmp_path, judges=False))


def test_an_entry_of_its_own_is_taken(tmp_path):
    model = built(recog_aware(OwnEntryModel), options(tmp_path))
    model.validation(DataLoader(Items()), 1, None)
    assert model.entered and {'psnr', 'top1_judge'} <= set(model.metric_results)


@pytest.mark.parametrize('cls, own', [
    (WindowModel, True), (HiddenModel, True), (OwnEntryModel, True), (type('Child', (WindowModel,), {}), True),
    *((name, False) for name in ('SRModel', 'SwinIRModel', 'RealESRNetModel', 'RealESRGANModel', 'HiFaceGANModel'))])
def test_which_classes_have_their_own(cls, own):
    cls = MODEL_REGISTRY.get(cls) if isinstance(cls, str) else cls
    assert has_own_validation(cls) == own


@pytest.mark.parametrize('base, size', [('SRModel', 3), ('WindowModel', 1)])
def test_it_is_given_one_image_at_a_time(base, size, tmp_path, monkeypatch):
    monkeypatch.setitem(MODEL_REGISTRY._obj_map, 'WindowModel', WindowModel)
    monkeypatch.setattr('ra_plugin.builders.loaders.build_dataset', lambda options, where: Items())
    opt = options(tmp_path, base_model_type=base, datasets={'val': {'name': 'data', 'batch_size_per_gpu': 3}})
    assert build_val_loaders(opt)[0].batch_size == size
