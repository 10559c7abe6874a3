"""A small FCOS for BCCD (RBC, WBC, platelets) at 320x240, from the ImageNet MobileNetV2.

First: python -m dev.convert_mobilenet_v2 mobilenet_v2-b0353104.pth weights/mobilenet_v2_mm.pth
Then: python -m ra_plugin.mm.train options/mm/fcos_mobilenetv2_bccd.py
"""
_base_ = ['./_base_/bccd.py', './_base_/schedule_8e.py']

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
