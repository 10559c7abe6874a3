"""Small models of open_clip, as files in a folder."""
import json
from pathlib import Path

import torch
from safetensors.torch import save_file

TEXT = {'context_length': 16, 'vocab_size': 49408, 'width': 8, 'heads': 2, 'layers': 1}
VIT = {'image_size': 32, 'layers': 2, 'width': 16, 'head_width': 8, 'patch_size': 8}
CONFIGS = {
    'CLIP': {'embed_dim': 12, 'vision_cfg': VIT, 'text_cfg': TEXT},
    'ResNet': {'embed_dim': 12, 'text_cfg': TEXT, 'vision_cfg': {
        'image_size': 64, 'layers': [1, 1, 1, 1], 'width': 4, 'patch_size': None, 'head_width': 8}},
    'CustomTextCLIP': {'embed_dim': 12, 'vision_cfg': VIT, 'text_cfg': TEXT, 'custom_text': True},
    'SigLIP': {  # with a learned bias, and a tower of timm
        'embed_dim': 16, 'init_logit_bias': -10, 'custom_text': True,
        'vision_cfg': {'image_size': 160, 'timm_model_name': 'test_vit', 'timm_model_pretrained': False,
                       'timm_pool': 'token', 'timm_proj': 'linear'},
        'text_cfg': {**TEXT, 'no_causal_mask': True, 'pool_type': 'last', 'proj_bias': True}},
    'CoCa': {
        'embed_dim': 12, 'custom_text': True,
        'vision_cfg': {**VIT, 'attentional_pool': True, 'attn_pooler_heads': 2, 'output_tokens': True},
        'text_cfg': {**TEXT, 'embed_cls': True, 'output_tokens': True},
        'multimodal_cfg': {'context_length': 16, 'vocab_size': 49408, 'width': 12, 'heads': 2, 'layers': 1}},
}
PREPROCESS = {'CLIP': {'size': 32}, 'SigLIP': {'mean': [0.5] * 3, 'std': [0.5] * 3, 'interpolation': 'bicubic',
                                               'resize_mode': 'squash'}}


def make(kind, seed=0):
    """Return a model, and its config, with random weights that are no first ones."""
    import open_clip
    config = json.loads(json.dumps(CONFIGS[kind]))
    custom = config.pop('custom_text', False)
    cls = open_clip.CoCa if 'multimodal_cfg' in config else open_clip.CustomTextCLIP if custom else open_clip.CLIP
    torch.manual_seed(seed)
    model = cls(**config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.startswith('text_decoder'):  # which the package leaves in part as the memory was
                parameter.normal_(std=0.1)
            elif not name.startswith('logit'):
                parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def save(folder: Path, kind='CLIP', preprocess=None, text=None, model=None):
    """Write the config and the weights of a model into a folder; return its name."""
    folder.mkdir(parents=True, exist_ok=True)
    config = json.loads(json.dumps(CONFIGS[kind]))
    config['text_cfg'].update(text or {})
    content = {'model_cfg': config, 'preprocess_cfg': preprocess or PREPROCESS.get(kind, {})}
    (folder / 'open_clip_config.json').write_text(json.dumps(content))
    weights = (model or make(kind)).state_dict()
    save_file({name: value.contiguous().clone() for name, value in weights.items()},
              folder / 'open_clip_model.safetensors')
    return f'local-dir:{folder}'
