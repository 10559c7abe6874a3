"""A small semantic FPN for CamVid (11 classes) at 320x240, from the ImageNet MobileNetV2.

First: python -m dev.convert_mobilenet_v2 mobilenet_v2-b0353104.pth weights/mobilenet_v2_mm.pth
Then: python -m ra_plugin.mm.train options/mm/sem_fpn_mobilenetv2_camvid.py
"""
_base_ = ['./_base_/camvid.py', './_base_/schedule_8e.py']

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
