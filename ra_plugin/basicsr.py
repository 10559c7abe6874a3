"""BasicSR with the parts of this package: importing this module patches BasicSR and registers them, once.

The patches, and the reasons for them, are in `ra_plugin.compat`. All modules that train or build networks import this
one; your own script has to import it before ``basicsr``.
"""
from ra_plugin import compat

compat.mend_basicsr()

from basicsr.utils import registry  # noqa: E402

from ra_plugin import archs, losses  # noqa: E402
from ra_plugin.compat import basicsr_cpu  # noqa: E402
from ra_plugin.data import (  # noqa: E402
    DetectionDataset,
    LabeledImageDataset,
    SegmentationDataset,
    TextDataset,
    UnlabeledImageDataset,
)
from ra_plugin.metrics.calculate_pyiqa import calculate_pyiqa  # noqa: E402
from ra_plugin.models.recog_aware_model import RecogAwareModel  # noqa: E402
from ra_plugin.models.resume.reader import load_resume_state  # noqa: E402

basicsr_cpu.resume(load_resume_state)

REGISTERED = {
    registry.ARCH_REGISTRY: [archs.SRResNet, archs.SRDenseNet, archs.RDN, archs.DBPN, archs.ResnetGenerator,
                             archs.Interpolation, archs.SpandrelNetwork],
    registry.LOSS_REGISTRY: [losses.RecogLoss, losses.RecogConsistencyLoss, losses.RecogFeatureLoss],
    registry.DATASET_REGISTRY: [LabeledImageDataset, DetectionDataset, SegmentationDataset, TextDataset,
                                UnlabeledImageDataset],
    registry.METRIC_REGISTRY: [calculate_pyiqa],
    registry.MODEL_REGISTRY: [RecogAwareModel],
}

for _registry, _entries in REGISTERED.items():
    for _entry in _entries:
        if _entry.__name__ not in _registry:  # BasicSR's registries refuse a name that they have
            _registry.register(_entry)
