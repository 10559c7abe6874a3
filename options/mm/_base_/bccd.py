"""BCCD (VOC layout in datasets/bccd) at 320x240, scored by VOC's mAP, and the optimizer for it."""
default_scope = 'mmdet'

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

optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05), clip_grad=dict(max_norm=10),
    paramwise_cfg=dict(norm_decay_mult=0, custom_keys=dict(backbone=dict(lr_mult=0.3))))
