"""What BasicSR gets from this package, in one list; importing ``ra_plugin`` registers it."""


def register_in_basicsr() -> None:
    """Add our architectures, losses, data sets, a metric and a model to its registries; twice changes nothing."""
    from basicsr.utils import registry

    from ra_plugin import archs, losses
    from ra_plugin.data import DetectionDataset, LabeledImageDataset, SegmentationDataset, UnlabeledImageDataset
    from ra_plugin.models.calculate_pyiqa import calculate_pyiqa
    from ra_plugin.models.recog_aware_model import RecogAwareModel
    ours = {
        registry.ARCH_REGISTRY: [archs.SRResNet, archs.SRDenseNet, archs.RDN, archs.DBPN, archs.ResnetGenerator,
                                 archs.Interpolation],
        registry.LOSS_REGISTRY: [losses.RecogLoss, losses.RecogConsistencyLoss, losses.RecogFeatureLoss],
        registry.DATASET_REGISTRY: [LabeledImageDataset, DetectionDataset, SegmentationDataset,
                                    UnlabeledImageDataset],
        registry.METRIC_REGISTRY: [calculate_pyiqa],
        registry.MODEL_REGISTRY: [RecogAwareModel],
    }
    for target, classes in ours.items():
        for cls in classes:
            if cls.__name__ not in target:
                target.register(cls)
