"""Construction of the model of an option file, with this package's training step and training states."""
import copy
from typing import Any

from basicsr.utils import get_root_logger
from basicsr.utils.registry import MODEL_REGISTRY

from ra_plugin.models.channels import watch_channels
from ra_plugin.models.plain_validation import PlainValidationMixin, has_plain_validation
from ra_plugin.models.resume.writer import ResumableMixin
from ra_plugin.models.step_log import step_log
from ra_plugin.models.training_step import TrainingStepMixin


def build_model(opt: dict) -> Any:
    """Build the model as ``basicsr.models.build_model`` does, with its class extended by `run_ready`."""
    opt = copy.deepcopy(opt)
    if opt.get('dist') and any(isinstance(block, dict) and block.get('type') == 'SpandrelNetwork'
                               for name, block in opt.items() if name.startswith('network_')):
        # Swift-SRGAN, FDAT, SPAN and others have weights that no image reaches: DDP would wait for their gradients
        opt.setdefault('find_unused_parameters', True)
    kind = MODEL_REGISTRY.get(opt['model_type'])
    model = (run_ready(kind) if isinstance(kind, type) else kind)(opt)
    watch_channels(model)
    get_root_logger().info(f'Model [{type(model).__name__}] is created.')
    return model


def run_ready(model_class: type) -> type:
    """Return the class extended by `TrainingStepMixin` and `ResumableMixin`; without their options it trains as before.

    If it uses SRModel's validation, it validates in batches, see `PlainValidationMixin`.
    """
    plain = (PlainValidationMixin,) if has_plain_validation(model_class) else ()
    bases = (TrainingStepMixin, ResumableMixin, *plain, *step_log(model_class), model_class)
    return type(model_class.__name__, bases, {})
