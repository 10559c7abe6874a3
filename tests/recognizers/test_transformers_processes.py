"""Losses of transformers in distributed trainings: a frozen recognizer waits for no other process."""
import datetime
import multiprocessing
import os

import pytest
import tiny_transformers as tiny
import torch
import torch.distributed as dist
from accelerate import PartialState
from accelerate.utils import DistributedType

from ra_plugin.recognizers import TransformersRecognizer

SECONDS = 60
SIZE = (64, 64)
BOXES = torch.tensor([[6.0, 6.0, 30.0, 50.0], [20.0, 12.0, 60.0, 58.0], [2.0, 2.0, 40.0, 20.0]])


def labels(task, count):
    """Labels of two images; of a detector ``count`` objects in the first one."""
    if task == 'segmentation':
        return torch.arange(2).repeat_interleave(32).repeat(2, 64, 1) * (count > 1)
    return [{'boxes': BOXES[:count], 'labels': torch.arange(count)},
            {'boxes': BOXES[:0], 'labels': torch.zeros(0, dtype=torch.long)}]


def losses(folder, counts):
    """The loss of the same images with so many objects each, one call after the other."""
    torch.set_num_threads(1)
    recognizer = TransformersRecognizer(folder)
    images = torch.rand(2, 3, *SIZE, generator=torch.Generator().manual_seed(1))
    return [float(sum(recognizer.loss(images, labels(recognizer.info.task, count)).values())) for count in counts]


def work(rank, folder, shared, counts, answers):
    """Call the loss in one of two processes that accelerate knows of, too."""
    os.environ.update(GLOO_SOCKET_IFNAME='lo', ACCELERATE_USE_CPU='true')
    dist.init_process_group('gloo', init_method=f'file://{shared}/rendezvous', rank=rank, world_size=2,
                            timeout=datetime.timedelta(seconds=SECONDS))
    PartialState._shared_state.update(
        _cpu=True, backend='gloo', device=torch.device('cpu'), num_processes=2, process_index=rank,
        local_process_index=rank, fork_launched=False, distributed_type=DistributedType.MULTI_CPU, debug=False)
    answers.put((rank, losses(folder, counts)))
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.distributed
@pytest.mark.parametrize('family', ['LwDetr', 'Detr', 'MaskFormer'])
def test_processes_call_the_loss_as_often_as_each_has_images_for(family, tmp_path):
    (tmp_path / 'model').mkdir()
    folder = tiny.save(tmp_path / 'model', family)
    counts = [3, 1, 2], [1]
    context = multiprocessing.get_context('fork')
    answers = context.Queue()
    workers = [context.Process(target=work, args=(rank, folder, tmp_path, counts[rank], answers)) for rank in (0, 1)]
    for worker in workers:
        worker.start()
    try:
        found = dict(answers.get(timeout=SECONDS) for _ in workers)
    finally:
        for worker in workers:
            worker.join(5)
            worker.kill()
    for rank in (0, 1):
        assert found[rank] == pytest.approx(losses(folder, counts[rank]), rel=1e-5)
