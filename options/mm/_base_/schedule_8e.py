"""Eight epochs from an ImageNet backbone, on the CPU too; the optimizer is the data set's."""
custom_imports = dict(imports=['ra_plugin.mm'], allow_failed_imports=False)
randomness = dict(seed=0)

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=8, val_interval=8)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', eta_min=1e-5, by_epoch=True, begin=0, end=8, T_max=8, convert_to_iter_based=True)]
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=10),
    checkpoint=dict(type='CheckpointHook', interval=8, save_optimizer=False, max_keep_ckpts=1))
