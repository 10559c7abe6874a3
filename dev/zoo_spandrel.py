"""The architectures of spandrel: each from its smallest configuration, tuned by one step and written back."""
import importlib
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ra_plugin.archs import SpandrelNetwork, save_restorer
from ra_plugin.losses import RecogLoss
from ra_plugin.recognizers import ModuleRecognizer
from ra_plugin.utils.optional import require
from ra_plugin.utils.random_streams import seeded

_IMAGES = 2, 19, 23  # sides that neither 2 nor 4 divides
# name in the table -> architecture's name in spandrel, class in it, arguments
SMALLEST: Mapping[str, tuple[str, str, Mapping[str, Any]]] = {
    'ATD': ('ATD', 'ATD', {'embed_dim': 8, 'depths': (2,), 'num_heads': (2,), 'window_size': 8, 'num_tokens': 4,
                           'upscale': 2, 'upsampler': 'pixelshuffledirect'}),
    'AuraSR': ('AuraSR', 'AuraSR', {
        'dim': 8, 'image_size': None, 'input_image_size': None, 'up_dim_mults': (1, 1, 1, 1, 1),
        'down_dim_mults': (1, 1, 1), 'style_network': {'dim_in': 8, 'dim_out': 32, 'depth': 1}, 'mid_attn_depth': 1,
        'attn_depths': (1, 1, 1, 1, 1), 'self_attn_dim_head': 4, 'num_conv_kernels': 2, 'skip_connect_scale': 0.4}),
    'CRAFT': ('CRAFT', 'CRAFT', {'embed_dim': 12, 'depths': [1], 'num_heads': [2], 'upscale': 2}),
    'Compact': ('Compact', 'Compact', {'num_feat': 4, 'num_conv': 1, 'upscale': 2}),
    'DAT': ('DAT', 'DAT', {'embed_dim': 16, 'depth': [2], 'num_heads': [2], 'expansion_factor': 2.0}),
    'DCTLSA': ('DCTLSA', 'DCTLSA', {'nf': 10, 'num_modules': 6, 'upscale': 2}),
    'DITN': ('DITN', 'DITN', {'dim': 8, 'ITL_blocks': 1, 'SAL_blocks': 1, 'upscale': 2}),
    'DRCT': ('DRCT', 'DRCT', {'embed_dim': 8, 'depths': (6,), 'num_heads': (2,), 'gc': 4, 'upscale': 2,
                              'upsampler': 'pixelshuffle', 'img_size': 32}),
    'DRUNet': ('DRUNet', 'DRUNet', {'in_nc': 4, 'out_nc': 3, 'nc': [2, 4, 6, 8], 'nb': 2}),
    'DnCNN': ('DnCNN', 'DnCNN', {'in_nc': 3, 'out_nc': 3, 'nc': 4, 'nb': 4}),
    'FDnCNN': ('DnCNN', 'DnCNN', {'in_nc': 4, 'out_nc': 3, 'nc': 4, 'nb': 8, 'act_mode': 'R', 'mode': 'FDnCNN'}),
    'ESRGAN': ('ESRGAN', 'ESRGAN', {'num_filters': 4, 'num_blocks': 1, 'scale': 2}),
    'FBCNN': ('FBCNN', 'FBCNN', {'nc': [2, 4, 6, 512], 'nb': 2}),
    'FDAT': ('FDAT', 'FDAT', {'scale': 2, 'embed_dim': 16, 'num_groups': 1, 'depth_per_group': 1, 'num_heads': 2,
                              'mid_dim': 8}),
    'FFTformer': ('FFTformer', 'FFTformer', {'dim': 4, 'num_blocks': [1, 1, 1], 'num_refinement_blocks': 1}),
    'GFPGAN': ('GFPGAN', 'GFPGAN', {}),
    'GRL': ('GRL', 'GRL', {'embed_dim': 8, 'depths': [1], 'num_heads_window': [2], 'num_heads_stripe': [2],
                           'mlp_ratio': 2.0, 'anchor_window_down_factor': 4, 'stripe_shift': True}),
    'HAT': ('HAT', 'HAT', {'embed_dim': 8, 'depths': (1,), 'num_heads': (2,), 'window_size': 8, 'squeeze_factor': 4,
                           'mlp_ratio': 2.0, 'upscale': 2, 'num_feat': 8}),
    'HVI-CIDNet': ('HVICIDNet', 'HVICIDNet', {'channels': [4, 4, 8, 16]}),
    'IPT': ('IPT', 'IPT', {'patch_size': 12, 'n_feats': 4, 'num_layers': 1, 'num_heads': 12, 'scale': [2]}),
    'KBNet_l': ('KBNet', 'KBNet_l', {'dim': 24, 'num_blocks': [1, 1, 1, 1], 'num_refinement_blocks': 1}),
    'KBNet_s': ('KBNet', 'KBNet_s', {'width': 8, 'middle_blk_num': 1, 'enc_blk_nums': [1], 'dec_blk_nums': [1]}),
    'LaMa': ('LaMa', 'LaMa', {'in_nc': 4, 'out_nc': 3}),
    'MMRealSR': ('MMRealSR', 'MMRealSR', {'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 8, 'num_block': 1,
                                          'num_grow_ch': 4, 'num_feats': [4, 4, 4, 4], 'num_blocks': [1, 1, 1, 1]}),
    'MixDehazeNet': ('MixDehazeNet', 'MixDehazeNet', {'embed_dims': [8, 16, 32, 16, 8]}),
    'MoESR': ('MoESR', 'MoESR', {'scale': 2, 'dim': 8, 'n_blocks': 1, 'n_block': 1}),
    'MoSR': ('MoSR', 'MoSR', {'upscale': 2, 'n_block': 1, 'dim': 8}),
    'NAFNet': ('NAFNet', 'NAFNet', {'width': 4, 'enc_blk_nums': [1], 'dec_blk_nums': [1]}),
    'OmniSR': ('OmniSR', 'OmniSR', {'num_feat': 16, 'up_scale': 2}),
    'PLKSR': ('PLKSR', 'PLKSR', {'dim': 8, 'n_blocks': 1, 'upscaling_factor': 2, 'kernel_size': 5}),
    'RCAN': ('RCAN', 'RCAN', {'scale': 2, 'n_resgroups': 1, 'n_resblocks': 1, 'n_feats': 16}),
    'RGT': ('RGT', 'RGT', {'embed_dim': 16, 'depth': [2], 'num_heads': [2], 'mlp_ratio': 2.0}),
    'RealCUGAN': ('RealCUGAN', 'UpCunet2x', {'pro': True}),
    'RealPLKSR': ('PLKSR', 'RealPLKSR', {'dim': 16, 'n_blocks': 1, 'upscaling_factor': 2, 'kernel_size': 5}),
    'RestoreFormer': ('RestoreFormer', 'RestoreFormer', {'ch': 64, 'n_embed': 8, 'embed_dim': 32, 'z_channels': 32,
                                                         'ch_mult': (1, 1, 1, 1, 1, 1), 'num_res_blocks': 1}),
    'RetinexFormer': ('RetinexFormer', 'RetinexFormer', {'n_feat': 8, 'stage': 1}),
    'SAFMN': ('SAFMN', 'SAFMN', {'dim': 8, 'n_blocks': 1, 'upscaling_factor': 2}),
    'SAFMN BCIE': ('SAFMNBCIE', 'SAFMNBCIE', {'dim': 8, 'n_blocks': 1, 'num_layers': 1}),
    'SCUNet': ('SCUNet', 'SCUNet', {'config': [1, 1, 1, 1, 1, 1, 1], 'dim': 64}),
    'SPAN': ('SPAN', 'SPAN', {'num_in_ch': 3, 'num_out_ch': 3, 'feature_channels': 8, 'upscale': 2}),
    'SeemoRe': ('SeemoRe', 'SeemoRe', {'scale': 2, 'num_experts': 2, 'num_layers': 1, 'embedding_dim': 32}),
    'Swift-SRGAN': ('SwiftSRGAN', 'SwiftSRGAN', {'num_channels': 8, 'num_blocks': 1, 'upscale_factor': 2}),
    'Swin2SR': ('Swin2SR', 'Swin2SR', {'embed_dim': 8, 'depths': [2], 'num_heads': [2], 'window_size': 8,
                                       'upsampler': 'pixelshuffledirect'}),
    'SwinIR': ('SwinIR', 'SwinIR', {'embed_dim': 8, 'depths': [2], 'num_heads': [2], 'window_size': 8, 'upscale': 2,
                                    'upsampler': 'pixelshuffledirect'}),
    'Uformer': ('Uformer', 'Uformer', {'embed_dim': 8, 'depths': [1] * 9, 'num_heads': [1] * 9}),
}


class NoRestorer(ValueError):
    """Raised for a network of another purpose."""


def build(name: str) -> nn.Module:
    """Return spandrel's network in the smallest configuration, with random weights."""
    room, kind, arguments = SMALLEST[name]
    module = importlib.import_module(f'spandrel.architectures.{room}')
    return getattr(module, kind)(**arguments)


def check(name: str) -> tuple[list[str], str]:
    """Load, tune by one step, write and load back a network in its smallest configuration.

    Returns:
        The problems, and in words how many weights no image reaches.

    Raises:
        NoRestorer: `SpandrelNetwork` refuses it, as it should.
    """
    with tempfile.TemporaryDirectory() as folder:
        return _check(build(name), Path(folder))


def _check(own: nn.Module, folder: Path) -> tuple[list[str], str]:
    weights = {key: value.clone() for key, value in own.state_dict().items()}
    file, tuned, of_basicsr = folder / 'net.pth', folder / 'tuned.safetensors', folder / 'net_g_1.pth'
    torch.save({'params': weights}, file)
    try:
        network = SpandrelNetwork(str(file))
    except ValueError as error:
        refused = re.search('(fills holes|takes aligned faces).*', str(error))
        if refused is None:
            raise
        raise NoRestorer(refused[0]) from None
    images = torch.rand(_IMAGES[0], network.input_channels, *_IMAGES[1:])
    problems = {'the output is not that of spandrel': not _equal(network, file, images),
                'an image depends on the others of its batch': not _same_in_a_batch(network, images)}

    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    images.requires_grad_()
    network.train()(images)  # a network may keep something from its last call
    restored = network(images)
    recognizer = ModuleRecognizer('ra_plugin.recognizers.tiny_nets.TinyVGG', input_size=32, mean=[0.5] * 3,
                                  std=[0.25] * 3)
    loss = RecogLoss(recognizer)
    loss.check_range = False  # random weights restore to any range
    loss(restored, torch.tensor([1, 2])).backward()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    optimizer.step()
    gradients = {key: value.grad for key, value in network.named_parameters() if value.requires_grad}
    reached = {key: value for key, value in gradients.items() if value is not None}
    problems |= {
        f'{tuple(restored.shape)} for {tuple(images.shape)} at scale {network.scale}': restored.shape != (
            *images.shape[:1], network.output_channels, *(network.scale * side for side in images.shape[-2:])),
        'the gradient of the images is zero or not finite': images.grad is None or not (
            images.grad.any() and images.grad.isfinite().all()),
        'a gradient of the weights is not finite': not all(value.isfinite().all() for value in reached.values()),
        'no weight has a gradient': not any(value.any() for value in reached.values()),
        'the step changed nothing': all(torch.equal(before[key], value)
                                        for key, value in network.state_dict().items())}
    images = images.detach()
    save_restorer(network, tuned)
    torch.save({'params': network.state_dict()}, of_basicsr)
    network.eval()(images)  # networks that compute weights for inference do so now
    written = require('safetensors.torch', 'zoo_check').load_file(tuned)
    problems |= {
        'the written file has other names or dtypes': {key: value.dtype for key, value in weights.items()} != {
            key: value.dtype for key, value in written.items()},
        'the written file gives another output': not _equal(network, tuned, images),
        "BasicSR's file gives another output": not _equal(network, of_basicsr, images)}
    left = len(gradients) - len(reached)
    return [problem for problem, holds in problems.items() if holds], f'{left} of {len(gradients)}' if left else ''


@torch.no_grad()
def _equal(network: SpandrelNetwork, file: Path, images: torch.Tensor) -> bool:
    """Return True if spandrel's own call on what it loads from a file gives the same images, one by one."""
    library = require('spandrel', 'zoo_check').ModelLoader().load_from_file(file).eval()
    network.eval()
    for image in images.split(1):
        with seeded(0, image.device):
            theirs = library(image.clone())  # RCAN changes its input in place
        if not torch.allclose(network(image).clamp(0, 1), theirs, rtol=1e-4, atol=1e-5):
            return False
    return True


@torch.no_grad()
def _same_in_a_batch(network: SpandrelNetwork, images: torch.Tensor) -> bool:
    """Return True if images are restored in a batch as they are alone, but for rounding that a network amplifies."""
    alone = torch.cat([network.eval()(image) for image in images.split(1)])
    return torch.allclose(network(images), alone, rtol=1e-3, atol=1e-3)
