"""mIoU of FCN with HRNet-W48 on Cityscapes val when its images are degraded, then restored by a network of BasicSR.

    python -m ra_plugin.mm.test options/mm/restore_fcn_hr48_cityscapes.py \
        fcn_hr48_512x1024_160k_cityscapes_20200602_190946-59b7973e.pth --out restored.json

To set: leftImg8bit and gtFine (with *_labelTrainIds.png) in datasets/cityscapes; below, `degradation`, and `network`
and `checkpoint` of the network under test. The segmenter's weights are those that mmsegmentation lists for
fcn_hr48_4xb2-160k_cityscapes-512x1024. To compare: without DegradeImage and RestoreImage, the clean images; with
dict(type='RestoreImage', scale=4), which interpolates, the degraded ones.
Another checkpoint for one run: --cfg-options test_dataloader.dataset.pipeline.2.checkpoint=FILE
"""
_base_ = 'mmseg::hrnet/fcn_hr48_4xb2-160k_cityscapes-512x1024.py'
custom_imports = dict(imports=['ra_plugin.mm'], allow_failed_imports=False)

data_root = 'datasets/cityscapes/'
degradation = dict(type='BicubicDownsample', scale=4)  # or dict(type='JPEGCompression', quality=10), ...
network = dict(type='SRResNet', num_feat=64, num_block=5, upscale=4)  # network_g of the option file it was trained by
checkpoint = 'experiments/ra_srresnet_x4_resnet18/models/net_g_latest.pth'

test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='DegradeImage', degradation=degradation),  # leave it out where the files are the degraded ones
    dict(type='RestoreImage', network=network, checkpoint=checkpoint),
    dict(type='Resize', scale=(2048, 1024), keep_ratio=True),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(dataset=dict(data_root=data_root))
val_dataloader = dict(dataset=dict(data_root=data_root))
# num_workers=0: the network runs on the GPU, if there is one; in workers it runs on the CPU
test_dataloader = dict(
    num_workers=0, persistent_workers=False, dataset=dict(data_root=data_root, pipeline=test_pipeline))
