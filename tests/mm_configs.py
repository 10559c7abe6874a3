"""Small models of mmdetection and mmsegmentation for the tests, as config files: a narrow ResNet-18 and few classes."""

PREPROCESSORS = {  # the conventions that the zoo mixes
    'torchvision': dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True),
    'caffe': dict(mean=[103.53, 116.28, 123.675], std=[1.0, 1.0, 1.0], bgr_to_rgb=False),
    'none': dict(),
}
CLASSES = ('cat', 'dog', 'bird')
BACKBONE = dict(type='ResNet', depth=18, base_channels=8, norm_cfg=dict(type='BN', requires_grad=True), norm_eval=False,
                init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet18'))
FPN = dict(type='FPN', in_channels=[8, 16, 32, 64], out_channels=16, num_outs=4)
DELTAS = dict(type='DeltaXYWHBBoxCoder')
ANCHORS = dict(type='AnchorGenerator', scales=[4], ratios=[0.5, 1.0, 2.0], strides=[4, 8, 16, 32])


def _assigner(high, low):
    return dict(type='MaxIoUAssigner', pos_iou_thr=high, neg_iou_thr=low, min_pos_iou=low, ignore_iof_thr=-1)


RETINANET = dict(
    type='RetinaNet', backbone=BACKBONE, neck=FPN,
    bbox_head=dict(type='RetinaHead', num_classes=3, in_channels=16, feat_channels=16, stacked_convs=1,
                   anchor_generator=ANCHORS, bbox_coder=DELTAS,
                   loss_cls=dict(type='FocalLoss', use_sigmoid=True), loss_bbox=dict(type='L1Loss')),
    train_cfg=dict(assigner=_assigner(0.5, 0.4), allowed_border=-1, pos_weight=-1),
    test_cfg=dict(nms_pre=100, min_bbox_size=0, score_thr=0.001, nms=dict(type='nms', iou_threshold=0.5),
                  max_per_img=20))

FCOS = dict(
    type='FCOS', backbone=BACKBONE, neck=FPN,
    bbox_head=dict(type='FCOSHead', num_classes=3, in_channels=16, feat_channels=16, stacked_convs=1,
                   strides=[4, 8, 16, 32], norm_on_bbox=True, norm_cfg=None,
                   regress_ranges=((-1, 16), (16, 32), (32, 64), (64, 1e8))),
    test_cfg=RETINANET['test_cfg'])

_SAMPLER = dict(type='RandomSampler', num=16, pos_fraction=0.25, neg_pos_ub=-1, add_gt_as_proposals=False)
_ROIS = dict(type='SingleRoIExtractor', roi_layer=dict(type='RoIAlign', output_size=3, sampling_ratio=0),
             out_channels=16, featmap_strides=[4, 8, 16])
FASTER_RCNN = dict(
    type='FasterRCNN', backbone=BACKBONE, neck=FPN,
    rpn_head=dict(type='RPNHead', in_channels=16, feat_channels=16, anchor_generator=ANCHORS, bbox_coder=DELTAS),
    roi_head=dict(type='StandardRoIHead', bbox_roi_extractor=_ROIS, bbox_head=dict(
        type='Shared2FCBBoxHead', in_channels=16, fc_out_channels=32, roi_feat_size=3, num_classes=3,
        bbox_coder=DELTAS, reg_class_agnostic=False)),
    train_cfg=dict(rpn=dict(assigner=_assigner(0.7, 0.3), sampler=_SAMPLER, allowed_border=-1, pos_weight=-1),
                   rpn_proposal=dict(nms_pre=100, max_per_img=30, nms=dict(type='nms', iou_threshold=0.7)),
                   rcnn=dict(assigner=_assigner(0.5, 0.5), sampler=_SAMPLER, pos_weight=-1)),
    test_cfg=dict(rpn=dict(nms_pre=100, max_per_img=30, nms=dict(type='nms', iou_threshold=0.7)),
                  rcnn=dict(score_thr=0.001, nms=dict(type='nms', iou_threshold=0.5), max_per_img=20)))

MASK_RCNN = {**FASTER_RCNN, 'type': 'MaskRCNN', 'roi_head': {
    **FASTER_RCNN['roi_head'],
    'mask_roi_extractor': {**_ROIS, 'roi_layer': dict(type='RoIAlign', output_size=6, sampling_ratio=0)},
    'mask_head': dict(type='FCNMaskHead', num_convs=1, in_channels=16, conv_out_channels=16, num_classes=3)},
    'train_cfg': {**FASTER_RCNN['train_cfg'], 'rcnn': {**FASTER_RCNN['train_cfg']['rcnn'], 'mask_size': 12}},
    'test_cfg': {**FASTER_RCNN['test_cfg'], 'rcnn': {**FASTER_RCNN['test_cfg']['rcnn'], 'mask_thr_binary': 0.5}}}

FCN = dict(
    type='EncoderDecoder',
    backbone=dict(type='ResNetV1c', depth=18, base_channels=8, stem_channels=8, norm_cfg=dict(type='BN'),
                  out_indices=(0, 1, 2, 3), dilations=(1, 1, 1, 1), strides=(1, 2, 2, 2)),
    decode_head=dict(type='FCNHead', in_channels=64, in_index=3, channels=16, num_convs=1, num_classes=3,
                     dropout_ratio=0.5, norm_cfg=dict(type='BN')),
    auxiliary_head=dict(type='FCNHead', in_channels=32, in_index=2, channels=16, num_convs=1, num_classes=3,
                        norm_cfg=dict(type='BN'), loss_decode=dict(type='CrossEntropyLoss', loss_weight=0.4)),
    train_cfg=dict(), test_cfg=dict(mode='whole'))


def write_config(path, model, library, convention='torchvision', resize=None, classes=CLASSES):
    """Write a config file with a test pipeline; returns its path as text."""
    kind = 'DetDataPreprocessor' if library == 'mmdet' else 'SegDataPreProcessor'
    settings = dict(type=kind, **PREPROCESSORS[convention])
    if library == 'mmdet':
        settings['pad_size_divisor'] = 32
    else:
        settings['size'] = (64, 64)  # the crop of its training, which is not ours
    pipeline = [dict(type='LoadImageFromFile'), *(resize or []),
                dict(type='PackDetInputs' if library == 'mmdet' else 'PackSegInputs')]
    dataset = dict(type='CocoDataset' if library == 'mmdet' else 'BaseSegDataset', pipeline=pipeline)
    if classes:
        dataset['metainfo'] = dict(classes=classes)
    path.write_text(f'model = {dict(model, data_preprocessor=settings)!r}\n'
                    f'test_dataloader = dict(dataset={dataset!r})\n')
    return str(path)
