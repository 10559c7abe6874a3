"""Faster R-CNN with VGG-16 (no batch norm) and FPN on Pascal VOC; settings and data as in faster_rcnn_r50_voc.py.

    python -m ra_plugin.mm.train options/mm/faster_rcnn_vgg16_voc.py

The paper's detector, of another implementation and without FPN, has mAP 72.2 % on clean images.
"""
_base_ = './faster_rcnn_r50_voc.py'

model = dict(
    data_preprocessor=dict(std=[1, 1, 1]),  # of the weights below
    # SSD's VGG, for mmdet has no other: fc6 and fc7 are convolutions behind conv5
    backbone=dict(
        _delete_=True, type='SSDVGG', depth=16, with_last_pool=False, ceil_mode=False,
        out_feature_indices=(15, 22, 34),  # relu3_3, relu4_3, relu7: strides 4, 8, 16
        init_cfg=dict(type='Pretrained', checkpoint='open-mmlab://vgg16_caffe')),
    neck=dict(in_channels=[256, 512, 1024]))  # FPN makes strides 32 and 64 from the last
optim_wrapper = dict(clip_grad=dict(max_norm=35))  # nothing normalizes its activations
