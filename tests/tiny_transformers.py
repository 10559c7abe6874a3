"""The smallest models of transformers, with their image processors, in folders as save_pretrained() writes them."""
import torch
import transformers as hf

CLASSES = {0: 'cat', 1: 'dog', 2: 'bird'}
_LABELS = {'id2label': CLASSES, 'label2id': {name: key for key, name in CLASSES.items()}}
_VIT = {'hidden_size': 16, 'num_hidden_layers': 2, 'num_attention_heads': 2, 'intermediate_size': 32, 'image_size': 32,
        'patch_size': 8}
_DETR = {'d_model': 16, 'encoder_layers': 1, 'decoder_layers': 2, 'encoder_attention_heads': 2,
         'decoder_attention_heads': 2, 'encoder_ffn_dim': 32, 'decoder_ffn_dim': 32, 'num_queries': 5}
_PIXELS = {'shortest_edge': 48, 'longest_edge': 96}


def _resnet(stages=('stage4',), **further):
    return hf.ResNetConfig(embedding_size=8, hidden_sizes=[8, 12, 16, 24], depths=[1, 1, 1, 1], layer_type='basic',
                           out_features=list(stages), **further)


def _backboned(**further):
    return {'backbone_config': _resnet(**further), 'use_timm_backbone': False, 'backbone': None}


def _swin():
    return hf.SwinConfig(image_size=32, patch_size=2, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2],
                         window_size=4, out_features=['stage1', 'stage2', 'stage3', 'stage4'])


def _rt_backbone():
    return hf.RTDetrResNetConfig(embedding_size=8, hidden_sizes=[8, 12, 16, 24], depths=[1, 1, 1, 1],
                                 layer_type='basic', out_features=['stage2', 'stage3', 'stage4'])


_HYBRID = {'encoder_hidden_dim': 16, 'encoder_in_channels': [12, 16, 24], 'feat_strides': [8, 16, 32],
           'encoder_layers': 1, 'encoder_ffn_dim': 32, 'encoder_attention_heads': 2, 'd_model': 16, 'num_queries': 5,
           'decoder_in_channels': [16, 16, 16], 'decoder_ffn_dim': 32, 'decoder_layers': 2,
           'decoder_attention_heads': 2, 'decoder_n_points': 2, 'num_denoising': 4}


def _d_fine():
    return hf.DFineConfig(**{**_HYBRID, 'decoder_n_points': [2, 2, 2]}, backbone_config=hf.HGNetV2Config(
        stem_channels=[3, 8, 8], stage_in_channels=[8, 8, 12, 16], stage_mid_channels=[8, 8, 8, 8],
        stage_out_channels=[8, 12, 16, 24], stage_num_blocks=[1, 1, 1, 1], stage_numb_of_layers=[1, 1, 1, 1],
        hidden_sizes=[8, 12, 16, 24], depths=[1, 1, 1, 1], out_features=['stage2', 'stage3', 'stage4']), **_LABELS)


CLASSIFIERS = {  # name -> config, image processor
    'ViT': lambda: (hf.ViTConfig(**_VIT, **_LABELS), hf.ViTImageProcessor(size={'height': 32, 'width': 32})),
    'ConvNext': lambda: (hf.ConvNextConfig(hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1], **_LABELS),
                         hf.ConvNextImageProcessor(size={'shortest_edge': 48})),
    'ResNet': lambda: (_resnet(**_LABELS), hf.ConvNextImageProcessor(size={'shortest_edge': 64})),
    'Dinov2': lambda: (hf.Dinov2Config(**_VIT, **_LABELS), hf.BitImageProcessor(
        size={'shortest_edge': 48}, crop_size={'height': 32, 'width': 32})),
    'MobileViT': lambda: (hf.MobileViTConfig(
        hidden_sizes=[16, 16, 16], neck_hidden_sizes=[8, 8, 8, 8, 8, 8, 16], image_size=64, num_attention_heads=2,
        **_LABELS), hf.MobileViTImageProcessor(size={'shortest_edge': 72}, crop_size={'height': 64, 'width': 64})),
    'Levit': lambda: (hf.LevitConfig(image_size=64, hidden_sizes=[32, 32, 32], num_attention_heads=[2, 2, 2],
                                     depths=[1, 1, 1], key_dim=[8, 8, 8], **_LABELS),
                      hf.LevitImageProcessor(size={'shortest_edge': 64}, crop_size={'height': 64, 'width': 64})),
    'EfficientNet': lambda: (hf.EfficientNetConfig(
        width_coefficient=0.25, depth_coefficient=0.25, image_size=64, hidden_dim=320, **_LABELS),
        hf.EfficientNetImageProcessor(size={'height': 64, 'width': 64})),
}
DETECTORS = {
    'Detr': lambda: (hf.DetrConfig(**_DETR, **_backboned(), **_LABELS), hf.DetrImageProcessor(size=_PIXELS)),
    'ConditionalDetr': lambda: (hf.ConditionalDetrConfig(**_DETR, **_backboned(), **_LABELS, auxiliary_loss=True),
                                hf.ConditionalDetrImageProcessor(size=_PIXELS)),
    'DeformableDetr': lambda: (hf.DeformableDetrConfig(
        **{**_DETR, 'd_model': 32}, **_backboned(stages=('stage3', 'stage4')), **_LABELS, num_feature_levels=2,
        encoder_n_points=2, decoder_n_points=2), hf.DeformableDetrImageProcessor(size=_PIXELS)),
    'RTDetr': lambda: (hf.RTDetrConfig(**_HYBRID, backbone_config=_rt_backbone(), **_LABELS),
                       hf.RTDetrImageProcessor(size={'height': 64, 'width': 64})),
    'RTDetrV2': lambda: (hf.RTDetrV2Config(**_HYBRID, backbone_config=_rt_backbone(), **_LABELS),
                         hf.RTDetrImageProcessor(size={'height': 64, 'width': 64})),
    'DFine': lambda: (_d_fine(), hf.RTDetrImageProcessor(size={'height': 64, 'width': 64})),
    'LwDetr': lambda: (hf.LwDetrConfig(
        projector_scale_factors=[1.0], d_model=16, decoder_ffn_dim=32, decoder_layers=2, decoder_self_attention_heads=2,
        decoder_cross_attention_heads=2, group_detr=2, num_queries=5, backbone_config=hf.LwDetrViTConfig(
            **{**_VIT, 'image_size': 64}, out_indices=[1, 2]), **_LABELS),
        hf.DeformableDetrImageProcessor(size={'height': 64, 'width': 64})),
    'Yolos': lambda: (hf.YolosConfig(**{**_VIT, 'image_size': [48, 64]}, num_detection_tokens=5, **_LABELS),
                      hf.YolosImageProcessor(size=_PIXELS)),
}
_MASKS = {'mask_feature_size': 32, 'fpn_feature_size': 32}
SEGMENTERS = {
    'Segformer': lambda: (hf.SegformerConfig(
        hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1], num_attention_heads=[1, 1, 2, 2], decoder_hidden_size=16,
        **_LABELS), hf.SegformerImageProcessor(size={'height': 64, 'width': 64}, do_reduce_labels=True)),
    'UperNet': lambda: (hf.UperNetConfig(
        backbone_config=_resnet(('stage1', 'stage2', 'stage3', 'stage4')), hidden_size=16, auxiliary_in_channels=16,
        auxiliary_channels=8, **_LABELS), hf.SegformerImageProcessor(size={'height': 64, 'width': 64})),
    'DPT': lambda: (hf.DPTConfig(
        **{**_VIT, 'num_hidden_layers': 4}, backbone_out_indices=[0, 1, 2, 3], neck_hidden_sizes=[8, 8, 16, 16],
        fusion_hidden_size=16, is_hybrid=False, **_LABELS), hf.DPTImageProcessor(size={'height': 32, 'width': 32})),
    'Beit': lambda: (hf.BeitConfig(
        **{**_VIT, 'num_hidden_layers': 4}, out_indices=[1, 2, 3, 4], pool_scales=[1, 2], auxiliary_channels=8,
        use_relative_position_bias=True, **_LABELS), hf.BeitImageProcessor(
            size={'height': 40, 'width': 40}, crop_size={'height': 32, 'width': 32}, do_center_crop=True)),
    'MaskFormer': lambda: (hf.MaskFormerConfig(
        **_MASKS, backbone_config=_swin(), decoder_config=hf.DetrConfig(**_DETR, **_backboned()), **_LABELS),
        hf.MaskFormerImageProcessor(size={'shortest_edge': 64, 'longest_edge': 96}, ignore_index=255)),
    'Mask2Former': lambda: (hf.Mask2FormerConfig(
        feature_size=32, mask_feature_size=32, hidden_dim=32, encoder_feedforward_dim=32, encoder_layers=1,
        dim_feedforward=32, decoder_layers=2, num_attention_heads=2, num_queries=5, train_num_points=64,
        backbone_config=_swin(), **_LABELS),
        hf.Mask2FormerImageProcessor(size={'height': 64, 'width': 64}, ignore_index=255)),
    'Eomt': lambda: (hf.EomtConfig(**{**_VIT, 'image_size': 64}, num_blocks=1, num_queries=5, train_num_points=64,
                                   num_upscale_blocks=1, **_LABELS),
                     hf.EomtImageProcessor(size={'shortest_edge': 64, 'longest_edge': None}, do_split_image=True)),
}
_ENDS = [(CLASSIFIERS, 'ForImageClassification'), (DETECTORS, 'ForObjectDetection')]
_OTHER_ENDS = {'MaskFormer': 'ForInstanceSegmentation', 'Mask2Former': 'ForUniversalSegmentation',
               'Eomt': 'ForUniversalSegmentation'}


def class_name(family):
    """Name of the class of a family."""
    end = next((end for families, end in _ENDS if family in families),
               _OTHER_ENDS.get(family, 'ForSemanticSegmentation'))
    return family + end


def save(folder, family, name=None):
    """Write a model with random weights and its processor; return the folder as text."""
    config, processor = {**CLASSIFIERS, **DETECTORS, **SEGMENTERS}[family]()
    torch.manual_seed(3)
    model = getattr(hf, name or class_name(family))(config).eval()
    with torch.no_grad():  # answers that differ: fresh heads give nearly the same everywhere
        for parameter in model.parameters():
            if parameter.dim() >= 2:
                parameter.copy_(torch.randn_like(parameter) * (1.5 / parameter[0].numel() ** 0.5))
    if family == 'Eomt':
        model.attn_mask_probs.zero_()  # as after its training, in which masked attention fades out
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return str(folder)
