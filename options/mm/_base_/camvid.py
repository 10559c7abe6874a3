"""CamVid (datasets/camvid) at 320x240, scored by mIoU, and the optimizer for it."""
default_scope = 'mmseg'

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

optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=2e-3, weight_decay=0.05), clip_grad=dict(max_norm=10),
    paramwise_cfg=dict(norm_decay_mult=0, custom_keys=dict(backbone=dict(lr_mult=0.15))))
