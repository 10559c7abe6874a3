"""A small FCOS for BCCD (RBC, WBC, platelets) at 320x240, from the ImageNet MobileNetV2.

First: python tools/convert_mobilenet_v2.py mobilenet_v2-b0353104.pth weights/mobilenet_v2_mm.pth
Then: python -m ra_plugin.mm.train options/mm/fcos_mobilenetv2_bccd.py
"""
default_scope = 'mmdet'
custom_imports = dict(imports=['ra_plugin.mm'], allow_failed_imports=False)
randomness = dict(seed=0)

model = dict(
    type='FCOS',
    data_preprocessor=dict(
        type='DetDataPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True,
        pad_size_divisor=32),
    backbone=dict(
        type='MobileNetV2', out_indices=(2, 4, 6), frozen_stages=2, norm_eval=True,
        init_cfg=dict(type='Pretrained', prefix='mmdet', checkpoint='weights/mobilenet_v2_mm.pth')),
    neck=dict(type='FPN', in_channels=[32, 96, 320], out_channels=64, num_outs=3),
    bbox_head=dict(
        type='FCOSHead', num_classes=3, in_channels=64, feat_channels=64, stacked_convs=2, strides=[8, 16, 32],
        regress_ranges=((-1, 32), (32, 64), (64, 1e8)), center_sampling=True, norm_on_bbox=True, centerness_on_reg=True,
        norm_cfg=dict(type='GN', num_groups=16),
        loss_cls=dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
        loss_bbox=dict(type='GIoULoss', loss_weight=1.0),
        loss_centerness=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0)),
    test_cfg=dict(
        nms_pre=500, min_bbox_size=0, score_thr=0.02, nms=dict(type='nms', iou_threshold=0.5), max_per_img=100))

# Pillow, so that a resized image equals the one that the project's own data sets give with `resize: 240`.
resize = dict(type='Resize', scale=(320, 240), keep_ratio=True, backend='pillow')
boxes = dict(type='LoadAnnotations', with_bbox=True)
dataset = dict(
    type='VOCDataset', data_root='datasets/bccd', data_prefix=dict(sub_data_root=''),
    metainfo=dict(classes=('RBC', 'WBC', 'Platelets'), palette=[(220, 60, 60), (80, 80, 220), (60, 180, 60)]))

train_dataloader = dict(
    batch_size=4, num_workers=0, drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        ann_file='ImageSets/Main/train.txt', **dataset,
        pipeline=[
            dict(type='LoadImageFromFile'), boxes, resize, dict(type='RandomFlip', prob=0.5),
            dict(type='RandomFlip', prob=0.5, direction='vertical'), dict(type='PackDetInputs')]))
val_dataloader = dict(
    batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        ann_file='ImageSets/Main/val.txt', test_mode=True, **dataset,
        pipeline=[
            dict(type='LoadImageFromFile'), resize, boxes,
            dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'))]))
test_dataloader = val_dataloader
val_evaluator = dict(type='VOCMetric', metric='mAP', iou_thrs=0.5, eval_mode='area')
test_evaluator = val_evaluator

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=8, val_interval=8)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05), clip_grad=dict(max_norm=10),
    paramwise_cfg=dict(norm_decay_mult=0, custom_keys=dict(backbone=dict(lr_mult=0.3))))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', eta_min=1e-5, by_epoch=True, begin=0, end=8, T_max=8, convert_to_iter_based=True)]
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=10),
    checkpoint=dict(type='CheckpointHook', interval=8, save_optimizer=False, max_keep_ckpts=1))
