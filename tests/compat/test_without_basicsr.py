"""Without BasicSR the losses train, recognizers answer, images are degraded; what needs it says so in one line."""
import os
import subprocess
import sys

import pytest
from hiding import ROOT, run_without

from ra_plugin.utils.optional import INSTALL_BASICSR

TRAINS = """
import json
import torch
from ra_plugin import RecogConsistencyLoss, RecogFeatureLoss, RecogLoss, build_recognizer
torch.manual_seed(0)
block = json.loads(sys.argv[1])
if 'checkpoint' in block:
    import torchvision
    torch.save(torchvision.models.shufflenet_v2_x0_5().state_dict(), block['checkpoint'])
recognizer = build_recognizer(block)
images = torch.rand(2, 3, 32, 32)
label = recognizer.predict(images)['labels'][:, 0]
net = torch.nn.Conv2d(3, 3, 3, padding=1)
optimizer = torch.optim.Adam(net.parameters(), 0.01, eps=1e-30)  # a step of the same size, however small the gradient
for loss, target in ((RecogLoss(recognizer), label), (RecogConsistencyLoss(recognizer), images),
                     (RecogFeatureLoss(recognizer), images)):
    before = net.weight.detach().clone()
    optimizer.zero_grad()
    loss(images + 0.1 * net(images).tanh(), target).backward()
    optimizer.step()
    assert (net.weight - before).abs().min() > 0, loss
"""
BUILDS_ON_IT = ['basicsr', 'models.recog_aware_model', 'builders.loaders', 'training.pipeline', 'evaluation.run',
                'studies.sweep.run', 'demo.run']


@pytest.mark.slow
@pytest.mark.parametrize('block', [
    '{"type": "TimmRecognizer", "model_name": "test_resnet", "pretrained": false}',
    '{"type": "TorchvisionRecognizer", "model_name": "shufflenet_v2_x0_5", "checkpoint": "weights.pth"}',
    '{"type": "ModuleRecognizer", "module": "ra_plugin.recognizers.tiny_nets.TinyResNet", "mean": [0.5, 0.5, 0.5],'
    ' "std": [0.2, 0.2, 0.2]}',
], ids=['timm', 'torchvision', 'module'])
def test_losses_train_and_recognizers_answer(block, tmp_path):
    run_without({'basicsr', 'lmdb'}, TRAINS, block, cwd=tmp_path)


@pytest.mark.slow
def test_images_are_degraded_and_read(tmp_path):
    run_without({'basicsr', 'lmdb'}, """
import numpy as np
from ra_plugin.degradations import build_degradation
from ra_plugin.data import LabeledImageDataset, UnlabeledImageDataset
from PIL import Image
import pathlib
folder = pathlib.Path('gt/a')
folder.mkdir(parents=True)
Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).save(folder / '0.png')
block = {'phase': 'val', 'dataroot_gt': 'gt', 'degradation': {'type': 'BicubicDownsample', 'scale': 2}}
assert LabeledImageDataset(block)[0]['lq'].shape == UnlabeledImageDataset(block)[0]['lq'].shape == (3, 4, 4)
""", cwd=tmp_path)


@pytest.mark.slow
def test_what_builds_on_it_says_so_in_one_line(tmp_path):
    told = run_without({'basicsr', 'lmdb'}, f"""
import importlib
for name in {BUILDS_ON_IT!r}:
    try:
        importlib.import_module(f'ra_plugin.{{name}}')
    except ImportError as error:
        print(error)
    else:
        raise AssertionError(f'{{name}} imports')
""", cwd=tmp_path).splitlines()
    assert told == [f'Training and evaluation need BasicSR, which is not installed. Install it with: {INSTALL_BASICSR}'
                    ] * len(BUILDS_ON_IT)


@pytest.mark.slow
def test_import_takes_little_more_than_that_of_torch(tmp_path):
    """The time is the processor's, which other programs do not change; the smallest of three starts."""
    code = """
import sys, time
import torch
began = time.process_time()
from ra_plugin import RecogLoss, build_recognizer
print(time.process_time() - began)
heavy = {'basicsr', 'cv2', 'jinja2', 'matplotlib', 'mmengine', 'onnx', 'onnxruntime', 'pandas', 'scipy', 'timm',
         'torchvision', 'transformers'} & sys.modules.keys()
assert not heavy, heavy
"""
    seconds = []
    for _ in range(3):
        done = subprocess.run([sys.executable, '-c', code], cwd=tmp_path, capture_output=True, text=True, timeout=300,
                              env={**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'})
        assert done.returncode == 0, done.stderr
        seconds.append(float(done.stdout))
    assert min(seconds) < 0.3, seconds
