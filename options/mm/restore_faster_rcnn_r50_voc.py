"""mAP of Faster R-CNN on VOC 2007 test when its images are degraded, then restored by a network of BasicSR.

    python -m ra_plugin.mm.test options/mm/restore_faster_rcnn_r50_voc.py \
        weights/faster_rcnn_r50_voc.pth --out restored.json

To set: the data as for faster_rcnn_r50_voc.py; below, `degradation`, and `network` and `checkpoint` of the network
under test. To compare: without DegradeImage and RestoreImage, the clean images (that is faster_rcnn_r50_voc.py); with
dict(type='RestoreImage', scale=4), which interpolates, the degraded ones. For another detector change _base_.
Another checkpoint for one run: --cfg-options test_dataloader.dataset.pipeline.2.checkpoint=FILE
"""
_base_ = './faster_rcnn_r50_voc.py'

degradation = dict(type='BicubicDownsample', scale=4)  # or dict(type='GaussianNoise', sigma=0.1), ...
network = dict(type='SRResNet', num_feat=64, num_block=5, upscale=4)  # network_g of the option file it was trained by
checkpoint = 'experiments/ra_srresnet_x4_resnet18/models/net_g_latest.pth'

test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='DegradeImage', degradation=degradation),  # leave it out where the files are the degraded ones
    dict(type='RestoreImage', network=network, checkpoint=checkpoint),
    dict(type='Resize', scale=(1000, 600), keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
# num_workers=0: the network runs on the GPU, if there is one; in workers it runs on the CPU
test_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(pipeline=test_pipeline))
