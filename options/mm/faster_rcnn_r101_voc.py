"""Faster R-CNN with ResNet-101 and FPN on Pascal VOC; settings and data as in faster_rcnn_r50_voc.py.

    python -m ra_plugin.mm.train options/mm/faster_rcnn_r101_voc.py

The paper's detector, of another implementation, has mAP 77.9 % on clean images.
"""
_base_ = './faster_rcnn_r50_voc.py'

model = dict(backbone=dict(depth=101, init_cfg=dict(checkpoint='torchvision://resnet101')))
