"""A small semantic FPN for CamVid (11 classes) at 320x240, from the ImageNet MobileNetV2.

First: python tools/convert_mobilenet_v2.py mobilenet_v2-b0353104.pth weights/mobilenet_v2_mm.pth
Then: python -m ra_plugin.mm.train options/mm/sem_fpn_mobilenetv2_camvid.py
"""
default_scope = 'mmseg'
custom_imports = dict(imports=['ra_plugin.mm'], allow_failed_imports=False)
randomness = dict(seed=0)

model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True,
        pad_val=0, seg_pad_val=255, size_divisor=32, test_cfg=dict(size_divisor=32)),
    backbone=dict(
        type='MobileNetV2', strides=(1, 2, 2, 2, 1, 2, 1), out_indices=(1, 2, 4, 6), frozen_stages=2, norm_eval=True,
        init_cfg=dict(type='Pretrained', prefix='mmseg', checkpoint='weights/mobilenet_v2_mm.pth')),
    neck=dict(type='FPN', in_channels=[24, 32, 96, 320], out_channels=64, num_outs=4),
    decode_head=dict(
        type='FPNHead', in_channels=[64, 64, 64, 64], in_index=[0, 1, 2, 3], feature_strides=[4, 8, 16, 32],
        channels=48, dropout_ratio=0.1, num_classes=11, norm_cfg=dict(type='BN'), align_corners=False,
        # Poles and people are a hundredth of the pixels; mmseg's class_weight fails where pixels have no class.
        sampler=dict(type='OHEMPixelSampler', thresh=0.7, min_kept=8000),
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)),
    test_cfg=dict(mode='whole'))

# Pillow, so that a resized image equals the one that the project's own data sets give with `resize: 240`.
resize = dict(type='Resize', scale=(320, 240), keep_ratio=True, backend='pillow')
void = dict(type='IgnoreLabels', values=[11])
dataset = dict(
    type='BaseSegDataset', data_root='datasets/camvid', img_suffix='.jpg', seg_map_suffix='.png',
    metainfo=dict(
        classes=('Sky', 'Building', 'Pole', 'Road', 'Pavement', 'Tree', 'SignSymbol', 'Fence', 'Car', 'Pedestrian',
                 'Bicyclist'),
        palette=[(128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222), (128, 128, 0),
                 (192, 128, 128), (64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192)]))

train_dataloader = dict(
    batch_size=4, num_workers=0, drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        data_prefix=dict(img_path='train', seg_map_path='trainannot'), **dataset,
        pipeline=[
            dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), void, resize,
            dict(type='RandomFlip', prob=0.5), dict(type='PackSegInputs')]))
val_dataloader = dict(
    batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        data_prefix=dict(img_path='val', seg_map_path='valannot'), test_mode=True, **dataset,
        pipeline=[
            dict(type='LoadImageFromFile'), resize, dict(type='LoadAnnotations'), void, dict(type='PackSegInputs')]))
test_dataloader = val_dataloader
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=8, val_interval=8)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=2e-3, weight_decay=0.05), clip_grad=dict(max_norm=10),
    paramwise_cfg=dict(norm_decay_mult=0, custom_keys=dict(backbone=dict(lr_mult=0.15))))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', eta_min=1e-5, by_epoch=True, begin=0, end=8, T_max=8, convert_to_iter_based=True)]
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=10),
    checkpoint=dict(type='CheckpointHook', interval=8, save_optimizer=False, max_keep_ckpts=1))
