"""Models without recognizers validate in batches, with the numbers and files of BasicSR's loop."""
import copy

import pytest
import test_recog_aware_hosts as hosts
import test_recog_aware_model as classify
import torch
from basicsr.models.sr_model import SRModel
from basicsr.utils import get_root_logger
from basicsr.utils.registry import MODEL_REGISTRY
from torch.utils.data import DataLoader

from ra_plugin.builders.loaders import build_val_loaders
from ra_plugin.models.builder import build_model
from ra_plugin.models.plain_validation import has_plain_validation

METRICS = {'psnr': {'type': 'calculate_psnr', 'crop_border': 0}, 'ssim': {'type': 'calculate_ssim', 'crop_border': 0},
           'error': {'type': 'calculate_psnr', 'crop_border': 1, 'better': 'lower'}}


class Scalars:
    """Replacement of TensorBoard's writer."""

    def __init__(self):
        self.added = []

    def add_scalar(self, *scalar):
        self.added.append(scalar)


@pytest.fixture
def emptied(monkeypatch):
    """Count how often a GPU's cache is emptied."""
    calls = []
    monkeypatch.setattr(torch.cuda, 'empty_cache', lambda: calls.append(None))
    return calls


def options(folder, metrics=METRICS, **changes):
    folder.mkdir(exist_ok=True)
    opt = classify.options(folder, base=None, ema_decay=0.5)
    opt['val'] = {'suffix': None} if metrics is None else {'suffix': None, 'metrics': metrics}
    return {**opt, **changes}


def built(build, opt):
    torch.manual_seed(0)
    return build(copy.deepcopy(opt))


def stock(opt):
    return MODEL_REGISTRY.get('SRModel')(opt)


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob('*.png')}


def results(model, batch_size, data, monkeypatch):
    """Return the results of a step, a validation, another step and another validation."""
    logged, scalars = [], Scalars()
    with monkeypatch.context() as patch:
        patch.setattr(get_root_logger(), 'info', logged.append)
        for i, batch in enumerate(classify.batches(2), 1):
            if model.is_train:
                classify.train(model, [batch])
            model.validation(DataLoader(data, batch_size), i, scalars, save_img=True)
    return {'numbers': getattr(model, 'metric_results', None), 'best': getattr(model, 'best_metric_results', None),
            'log': logged, 'scalars': scalars.added, 'files': files(model.opt['path']['folder'])}


@pytest.mark.slow
@pytest.mark.parametrize('is_train', [True, False], ids=['train', 'test'])
@pytest.mark.parametrize('batch_size', [1, 4])
def test_it_is_basicsrs_own_in_batches(tmp_path, monkeypatch, emptied, batch_size, is_train):
    data, found = classify.Items(), []
    data.opt = {**data.opt, 'dataroot_gt': 'class'}  # BasicSR leaves the folders of the images out
    for name, build, size in (('theirs', stock, 1), ('ours', build_model, batch_size)):
        opt = options(tmp_path / name, is_train=is_train)
        opt['path']['folder'] = tmp_path / name
        emptied.clear()
        found.append(results(built(build, opt), size, data, monkeypatch))
        assert len(emptied) == (22 if name == 'theirs' else 0)
    theirs, ours = found
    if batch_size == 1:
        assert ours == theirs
    assert ours['files'].keys() == theirs['files'].keys() and len(ours['files']) == (22 if is_train else 11)
    assert ours['log'] == theirs['log'] and len(ours['log']) == 2
    assert ours['numbers'] == pytest.approx(theirs['numbers'], rel=1e-6) and ours['numbers'].keys() == METRICS.keys()
    assert [scalar[::2] for scalar in ours['scalars']] == [scalar[::2] for scalar in theirs['scalars']]
    for name, best in theirs['best']['items'].items():
        assert ours['best']['items'][name] == {**best, 'val': pytest.approx(best['val'], rel=1e-6)}


def test_without_metrics_images_are_saved_and_nothing_is_logged(tmp_path, monkeypatch, emptied):
    opt = options(tmp_path, metrics=None)
    opt['path']['folder'] = tmp_path
    found = results(built(build_model, opt), 4, classify.Items(), monkeypatch)
    assert not found['numbers'] and not found['best'] and not found['log'] and not found['scalars']
    assert len(found['files']) == 22 and not emptied


def test_images_without_clean_ones_are_saved(tmp_path, monkeypatch):
    opt, data = options(tmp_path, metrics=None, is_train=False), classify.Items()
    data.items = [{key: item[key] for key in ('lq', 'lq_path')} for item in data.items]
    opt['path']['folder'], opt['val']['suffix'] = tmp_path, 'x'
    found = results(built(build_model, opt), 4, data, monkeypatch)
    assert set(found['files']) == {f'visualization/items/{i}_x.png' for i in range(11)}


@pytest.mark.distributed
def test_of_several_processes_the_first_validates_alone(tmp_path):
    model = built(build_model, options(tmp_path))
    for rank in (1, 0):
        model.opt.update(dist=True, rank=rank, world_size=2)
        model.validation(DataLoader(classify.Items(), 4), 1, None)
        assert hasattr(model, 'metric_results') == (rank == 0)


@pytest.mark.slow
def test_training_goes_on_as_with_basicsrs(tmp_path, monkeypatch):
    models = []
    for name, build in (('theirs', stock), ('ours', build_model)):
        opt = options(tmp_path / name)
        opt['path']['folder'] = tmp_path / name
        models.append(built(build, opt))
        results(models[-1], 1, classify.Items(), monkeypatch)
        classify.train(models[-1], classify.batches(1))
    classify.assert_equal_weights(models[0].net_g, models[1].net_g)
    assert models[1].is_train and models[1].net_g.training


class OwnValidation(SRModel):
    def validation(self, *args):
        super().validation(*args)


class OwnLoop(SRModel):
    def nondist_validation(self, *args):
        super().nondist_validation(*args)


class OwnSharing(SRModel):
    def dist_validation(self, *args):
        super().dist_validation(*args)


@pytest.mark.parametrize('kind, plain', [
    ('SRModel', True), ('ESRGANModel', True), ('SwinIRModel', True), (hosts.ClippedModel, True),
    ('RealESRNetModel', False), ('HiFaceGANModel', False), ('VideoBaseModel', False), ('VideoGANModel', False),
    ('StyleGAN2Model', False), ('RecogAwareModel', False), (OwnValidation, False), (OwnLoop, False),
    (OwnSharing, False)])
def test_a_class_with_a_way_of_its_own_keeps_it(kind, plain):
    kind = MODEL_REGISTRY.get(kind) if isinstance(kind, str) else kind
    assert has_plain_validation(kind) == plain


def test_one_that_loops_itself_is_given_one_image_at_a_time(tmp_path):
    data = {'val': {'name': 'v', 'phase': 'val', 'type': 'SingleImageDataset', 'dataroot_lq': str(tmp_path),
                    'io_backend': {'type': 'disk'}, 'batch_size_per_gpu': 4}}
    sizes = {kind: build_val_loaders({'model_type': kind, 'datasets': data})[0].batch_size
             for kind in ('SRModel', 'RealESRNetModel', 'RecogAwareModel')}
    assert sizes == {'SRModel': 4, 'RealESRNetModel': 1, 'RecogAwareModel': 4}
