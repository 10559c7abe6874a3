"""Two processes over gloo against one: gradients of a step, and results of a shared validation."""
import copy
import datetime
import os
import pathlib
import random
import sys
import time

import mm_configs as small
import numpy as np
import pytest
import test_recog_aware_model as classify
import test_recog_aware_tasks as tasks
import torch
import torch.distributed as dist
from test_recog_aware_tasks import blocks, dataset  # noqa: F401  (fixtures)

from ra_plugin.data import DetectionDataset, SegmentationDataset
from ra_plugin.recognizers import build_recognizer
from ra_plugin.utils import processes

pytestmark = pytest.mark.distributed

NETWORK = {'type': 'MSRResNet', 'num_feat': 4, 'num_block': 1, 'upscale': 2}  # no batch norm
CLASSIFIER = [classify.RECOG, classify.UNSUPERVISED]
SGD = {'type': 'SGD', 'lr': 0.1}
ANCHOR = {'type': 'MSELoss', 'loss_weight': 10.0, 'to': 'start'}
SECONDS = 240


# ------------------------------------------------------- what each process does, and one process does alone
def share(value, rank, world):
    size = len(value) // world
    return value[rank * size:(rank + 1) * size]


def train(opt, data, dtype, rank=0, world=1):
    """Return gradients and weights after two steps, with the batches shared by the processes, and the log."""
    torch.set_default_dtype(dtype)  # DDP keeps to the type that a network is wrapped with
    try:
        model = tasks.build({**opt, 'dist': world > 1, 'rank': rank, 'world_size': world})
    finally:
        torch.set_default_dtype(torch.float32)
    asked = 0

    def count(loss, *args):
        nonlocal asked
        asked += 1
        return loss(*args)

    for cri in model.cri_recog:
        cri.compare = lambda *args, loss=cri.compare: count(loss, *args)
    for batch in data:
        batch = {key: share(value, rank, world) for key, value in batch.items()}
        model.feed_data({**batch, 'lq': batch['lq'].to(dtype), 'gt': batch['gt'].to(dtype)})
        model.optimize_parameters(1)
    net = model.get_bare_model(model.net_g)
    return {'grads': [p.grad for p in net.parameters()], 'weights': list(net.parameters()),
            'log': model.get_current_log(), 'asked': asked}


def validate_classes(opt, batch_size, rank=0, world=1):
    """Validate after a step on different images per process, so that their batch norm differs."""
    model = classify.build({**copy.deepcopy(opt), 'dist': world > 1, 'rank': rank, 'world_size': world})
    classify.train(model, [classify.batches(2)[rank]])
    trained = copy.deepcopy(model.net_g_ema.state_dict())
    model.validation(torch.utils.data.DataLoader(classify.Items(), batch_size), 5, None, save_img=True)
    return {'results': getattr(model, 'metric_results', None), 'best': getattr(model, 'best_metric_results', None),
            'trained': trained, 'validated': model.net_g_ema.state_dict()}


def validate_task(opt, cls, data_opt, rank=0, world=1):
    model = tasks.build({**opt, 'dist': world > 1, 'rank': rank, 'world_size': world})
    with torch.no_grad():
        model.get_bare_model(model.net_g).tail.weight.mul_(20)
    model.validation(tasks.loader(cls(data_opt), 2), 5, None, save_img=True)
    return getattr(model, 'metric_results', None)


def work(rank, folder, jobs):
    for package in (random, np.random, torch):  # each process its own numbers, as those that do not come of one
        package.seed()
    os.environ.setdefault('GLOO_SOCKET_IFNAME', 'lo')
    dist.init_process_group('gloo', init_method=f'file://{folder}/rendezvous', rank=rank, world_size=2,
                            timeout=datetime.timedelta(seconds=SECONDS))
    for name, (function, *arguments) in jobs.items():
        torch.save(function(*arguments, rank=rank, world=2), f'{folder}/{name} {rank}.pt')
    assert threads_of_gloo() or sys.platform != 'linux'
    processes.leave()
    assert not threads_of_gloo()  # each could abort this process at its end


def threads_of_gloo():
    """Return the names of gloo's running threads, if the system lists them."""
    names = [path.read_text().strip() for path in pathlib.Path('/proc/self/task').glob('*/comm')]
    return [name for name in names if 'gloo' in name]


def together(folder, jobs):
    """Run the jobs and return their results of rank 0 and 1."""
    spawned = torch.multiprocessing.start_processes(work, (str(folder), jobs), nprocs=2, join=False,
                                                    start_method='fork')
    ends = time.monotonic() + SECONDS
    try:
        while not spawned.join(timeout=5):
            assert time.monotonic() < ends, 'the processes hang'
    finally:
        for process in spawned.processes:
            process.kill()
    return {name: [torch.load(folder / f'{name} {rank}.pt', weights_only=False) for rank in range(2)] for name in jobs}


# ----------------------------------------------------------------------------------------------------- the jobs
def detection_batches():
    """Return two batches of four images with different numbers of boxes."""
    found = tasks.batches('detection', 4)
    joined = [{key: torch.cat([a[key], b[key]]) if isinstance(a[key], torch.Tensor) else a[key] + b[key] for key in a}
              for a, b in zip(found[::2], found[1::2], strict=True)]
    for batch in joined:
        batch['label'] = [tasks.objects(labels) for labels in ((0, 2, 1), (2,), (1, 1), (0,))]
        batch['label'][1]['ignore'][:] = True  # then there is nothing to find
    return joined


@pytest.fixture(scope='module')
def jobs(tmp_path_factory, blocks):  # noqa: F811
    root = tmp_path_factory.mktemp('jobs')
    config = small.write_config(root / 'fcos.py', small.FCOS, 'mmdet', classes=small.CLASSES)
    torch.manual_seed(3)
    block = {'type': 'MMDetRecognizer', 'config': config, 'pretrained': False, 'resize': None}
    torch.save({'state_dict': build_recognizer(block, fold_batch_norm=False).model.state_dict()}, root / 'fcos.pth')
    block.update(pretrained=None, checkpoint=str(root / 'fcos.pth'))

    def training(recog_opt, **train):
        return {**tasks.options(root, recog_opt=recog_opt, optim_g=dict(SGD), **train), 'network_g': NETWORK}

    found = {'classifier': (train, training(CLASSIFIER), classify.batches(2), torch.float64),
             'channels_last': (train, training(CLASSIFIER, channels_last=True), classify.batches(2), torch.float64),
             'anchor': (train, training(CLASSIFIER, anchor_opt=ANCHOR), classify.batches(2), torch.float64),
             'detector': (train, training(tasks.supervised(block)), detection_batches(), torch.float32)}
    for size in (1, 4):
        opt = classify.options(tmp_path_factory.mktemp('images'), recog_opt=classify.RECOG, ema_decay=0.5)
        opt['val'] = {'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 0}},
                      'recognizers': {'small': classify.RECOGNIZER}}
        found[f'batches of {size}'] = validate_classes, opt, size
    return found


@pytest.fixture(scope='module')
def task_jobs(tmp_path_factory, blocks):  # noqa: F811
    found = {}
    for task, cls in (('detection', DetectionDataset), ('segmentation', SegmentationDataset)):
        root = tmp_path_factory.mktemp(task)
        opt = tasks.options(root, recog_opt=tasks.unsupervised(blocks[task]))
        opt['val'].update(recognizers={'x': blocks[task]}, recognition_metrics=tasks.METRICS)
        model, recognizer = tasks.build(opt), build_recognizer(blocks[task])
        with torch.no_grad():
            model.net_g.tail.weight.mul_(20)

        def answer(lq, model=model, recognizer=recognizer):
            model.lq = lq
            model.test()
            return recognizer.predict(model.output)

        data = dataset.__wrapped__(root)(task, tasks.SIZES['different'], answer)
        found[task] = validate_task, opt, cls, data.opt
    return found


@pytest.fixture(scope='module')
def results(tmp_path_factory, jobs, task_jobs):
    return together(tmp_path_factory.mktemp('results'), {**jobs, **task_jobs})


# ---------------------------------------------------------------------------------------------------- the tests
@pytest.mark.parametrize('name, tolerance', [('classifier', {'rtol': 1e-10, 'atol': 1e-14}),
                                             ('channels_last', {'rtol': 1e-10, 'atol': 1e-14}),
                                             ('anchor', {'rtol': 1e-10, 'atol': 1e-14}),
                                             ('detector', {'rtol': 1e-4, 'atol': 1e-7})])
def test_gradients_are_those_of_one_process_with_the_joint_batch(jobs, results, name, tolerance):
    function, *arguments = jobs[name]
    alone = function(*arguments)
    assert alone['asked'] == 2 * len(arguments[0]['train']['recog_opt'] if name != 'detector' else [1])
    for result in results[name]:
        assert result['asked'] == alone['asked']  # each process asks its recognizer
        for key in ('grads', 'weights'):
            for ours, theirs in zip(result[key], alone[key], strict=True):
                torch.testing.assert_close(ours, theirs, **tolerance)
    for key, value in alone['log'].items():
        assert results[name][0]['log'][key] == pytest.approx(value, rel=1e-5)
    assert alone['log']['l_recog'] > 0
    assert ('l_anchor' in alone['log']) == (name == 'anchor')


@pytest.mark.parametrize('size', [1, 4])
def test_totals_of_a_shared_validation_are_those_of_one_process(tmp_path, jobs, results, size):
    first, second = results[f'batches of {size}']
    mean = next(key for key in first['trained'] if key.endswith('running_mean'))
    assert not torch.equal(first['trained'][mean], second['trained'][mean])
    for result in (first, second):  # of rank 0, which are the ones that are saved
        assert all(torch.equal(value, first['trained'][key]) for key, value in result['validated'].items())
    assert second['results'] is None and second['best'] is None

    _, opt, _ = jobs[f'batches of {size}']
    saved = sorted(path.name for path in (tmp_path / opt['path']['visualization']).rglob('*.png'))
    assert saved == sorted(f'{i}_5.png' for i in range(11))
    opt = {**copy.deepcopy(opt), 'path': {**opt['path'], 'visualization': str(tmp_path)}}
    model = classify.build(opt)
    model.net_g_ema.load_state_dict(first['trained'])
    model.validation(torch.utils.data.DataLoader(classify.Items(), size), 5, None, save_img=False)
    assert model.metric_results == first['results'] and model.best_metric_results == first['best']
    assert first['results'].keys() == {'psnr', 'top1_small', 'top5_small'}


@pytest.mark.parametrize('task', ['detection', 'segmentation'])
def test_task_scores_of_a_shared_validation_are_those_of_one_process(task_jobs, results, task):
    function, *arguments = task_jobs[task]
    alone = function(*arguments)
    assert results[task] == [alone, None]
    assert all(value > 0.02 for value in alone.values()) and len(alone) >= 3
