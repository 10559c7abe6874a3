"""BasicSR's own high-order degradation, on the CPU and for one image: RealESRGANDataset and RealESRNetModel."""
import cv2
import numpy as np
import torch
from basicsr.data.realesrgan_dataset import RealESRGANDataset
from basicsr.models.realesrnet_model import RealESRNetModel
from basicsr.utils import DiffJPEG

import ra_plugin.basicsr  # noqa: F401  (BasicSR imports on current torchvision)

# Real-ESRGAN's options/train_realesrnet_x4plus.yml (commit 0011624), by the keys of a stage
FIRST = {
    'blur_prob': 1.0, 'sinc_prob': 0.1, 'kernel_prob': [0.45, 0.25, 0.12, 0.03, 0.12, 0.03], 'blur_sigma': [0.2, 3],
    'betag_range': [0.5, 4], 'betap_range': [1, 2], 'resize_prob': [0.2, 0.7, 0.1], 'resize_range': [0.15, 1.5],
    'gaussian_noise_prob': 0.5, 'noise_range': [1, 30], 'poisson_scale_range': [0.05, 3], 'gray_noise_prob': 0.4,
    'jpeg_range': [30, 95]}
SECOND = {**FIRST, 'blur_prob': 0.8, 'blur_sigma': [0.2, 1.5], 'resize_prob': [0.3, 0.4, 0.3],
          'resize_range': [0.3, 1.2], 'noise_range': [1, 25], 'poisson_scale_range': [0.05, 2.5]}
_LIST = ['iso', 'aniso', 'generalized_iso', 'generalized_aniso', 'plateau_iso', 'plateau_aniso']
_OF_MODEL = {**FIRST, **{f'{key}2': value for key, value in SECOND.items()}, 'second_blur_prob': SECOND['blur_prob']}
_OF_DATA = {**_OF_MODEL, 'kernel_list': _LIST, 'kernel_list2': _LIST, 'blur_kernel_size': 21, 'blur_kernel_size2': 21,
            'final_sinc_prob': 0.8, 'use_hflip': False, 'use_rot': False}


def fed_model(scale, jpeger=None, **changes):
    """Return a model that has what `feed_data` reads: no network, no pair pool, no sharpening of gt."""
    model = object.__new__(RealESRNetModel)
    model.opt = {**_OF_MODEL, 'scale': scale, 'gt_usm': False, **changes}
    model.is_train, model.device = True, torch.device('cpu')
    model.jpeger = jpeger or DiffJPEG(differentiable=False)
    model._dequeue_and_enqueue = lambda: None
    return model


def draw_item(folder):
    """Return the kernels that the data set draws for an item, with any image."""

    if not (folder / 'names.txt').exists():
        cv2.imwrite(str(folder / 'image.png'), np.zeros((400, 400, 3), np.uint8))
        (folder / 'names.txt').write_text('image.png')
    data = RealESRGANDataset({**_OF_DATA, 'dataroot_gt': str(folder), 'meta_info': str(folder / 'names.txt'),
                              'io_backend': {'type': 'disk'}})
    return {key: value.numpy() for key, value in data[0].items() if key.endswith(('kernel', 'kernel1', 'kernel2'))}


def degrade(model, image, item):
    """Return lq, float32 ``(H / scale, W / scale, 3)`` in ``[0, 1]``, of a square uint8 image and an item's kernels."""
    gt = torch.from_numpy(image.astype(np.float32) / 255).permute(2, 0, 1)[None].contiguous()
    model.opt['gt_size'] = image.shape[0]  # nothing is cropped
    model.feed_data({'gt': gt, **{key: torch.from_numpy(value).float()[None] for key, value in item.items()}})
    return model.lq[0].permute(1, 2, 0).numpy()
