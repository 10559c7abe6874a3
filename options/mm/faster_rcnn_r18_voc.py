"""Faster R-CNN with ResNet-18 and FPN on Pascal VOC; settings and data as in faster_rcnn_r50_voc.py.

    python -m ra_plugin.mm.train options/mm/faster_rcnn_r18_voc.py

The paper's detector, of another implementation, has mAP 74.2 % on clean images.
"""
_base_ = './faster_rcnn_r50_voc.py'

model = dict(
    backbone=dict(depth=18, init_cfg=dict(checkpoint='torchvision://resnet18')),
    neck=dict(in_channels=[64, 128, 256, 512]))
