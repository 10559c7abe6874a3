"""Faster R-CNN with ResNet-50 and FPN on Pascal VOC: 07+12 trainval to train, 07 test to score, as in arXiv:1910.09185.

    python -m ra_plugin.mm.train options/mm/faster_rcnn_r50_voc.py

Data: the VOC archives unpacked, so that there are datasets/VOCdevkit/VOC2007 and VOC2012. The paper's detector, of
another implementation, has mAP 76.8 % on clean images.
"""
_base_ = 'mmdet::pascal_voc/faster-rcnn_r50_fpn_1x_voc0712.py'
custom_imports = dict(imports=['ra_plugin.mm'], allow_failed_imports=False)

data_root = 'datasets/VOCdevkit/'
train_dataloader = dict(dataset=dict(dataset=dict(datasets=[
    {**_base_.train_dataloader.dataset.dataset.datasets[year], 'data_root': data_root} for year in (0, 1)])))
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = val_dataloader

# 0.01 is for batches of 16: with one GPU and its batch of 2 it becomes 0.00125
auto_scale_lr = dict(enable=True, base_batch_size=16)
default_hooks = dict(checkpoint=dict(max_keep_ckpts=1))
