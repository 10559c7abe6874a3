"""Patches of BasicSR 1.4.2 for all machines: newer opencv and lmdb, and bugs."""
import datetime
import importlib
import inspect
import os
import sys
import weakref
from collections import OrderedDict
from typing import Any

import torch
import yaml
from basicsr.data import degradations, prefetch_dataloader
from basicsr.losses.basic_loss import PerceptualLoss
from basicsr.models import realesrgan_model, realesrnet_model
from basicsr.models.base_model import BaseModel
from basicsr.utils import dist_util, file_client, img_process_util, options
from basicsr.utils.registry import LOSS_REGISTRY, MODEL_REGISTRY
from torch.nn.parallel import DistributedDataParallel

from ra_plugin.compat.gan_feat_loss import GANFeatLoss
from ra_plugin.compat.patching import replace
from ra_plugin.options import suggestion
from ra_plugin.utils.text_file import read_text
from ra_plugin.utils.yaml_file import UniqueKeyLoader


def apply() -> None:
    """Apply all patches; call it once."""
    jpeg_quality()
    filter2d_layout()
    perceptual_l2()
    feature_matching()
    optimizers()
    ema_buffers()
    shared_lmdb()
    prefetch_errors()
    local_rank()
    safe_yaml()
    validation_under_ddp()
    patient_ranks()


def jpeg_quality() -> None:
    """Truncate the JPEG quality to a whole number, as opencv >= 5 requires.

    ``random_add_jpg_compression`` draws a fractional quality. Older opencv truncated it, too: the image is the same.
    """

    @replace(degradations, 'add_jpg_compression')
    def add_jpg_compression(original, img, quality=90):
        return original(img, int(quality))


def filter2d_layout() -> None:
    """Make the input of ``filter2D`` contiguous, because it calls ``view`` after padding.

    On a CPU torch keeps a channels-last layout through padding, so the blur after the JPEG step (whose output has that
    layout) raised. Contiguous images are not copied.
    """

    @replace(img_process_util, 'filter2D')
    def filter2d(original, img, kernel):
        return original(img.contiguous(), kernel)

    for module in (realesrnet_model, realesrgan_model):  # imported by name
        vars(module)['filter2D'] = filter2d


def perceptual_l2() -> None:
    """Make ``PerceptualLoss(criterion='l2')`` use ``MSELoss`` instead of ``torch.nn.L2loss``, which does not exist.

    Has no effect for other criteria, or if BasicSR has fixed it.
    """
    if 'L2loss' not in PerceptualLoss.__init__.__code__.co_names:
        return

    @replace(PerceptualLoss, '__init__')
    def init(original, *args, **kwargs):
        call = inspect.signature(original).bind(*args, **kwargs)
        squared = call.arguments.get('criterion') == 'l2'
        if squared:
            call.arguments['criterion'] = 'l1'
        original(*call.args, **call.kwargs)
        if squared:
            loss = call.arguments['self']
            loss.criterion_type = 'l2'
            loss.criterion = torch.nn.MSELoss()


def feature_matching() -> None:
    """Register ``GANFeatLoss``, which HiFaceGAN's option file uses and BasicSR 1.4.0 lost when it split its losses.

    Has no effect if BasicSR has one.
    """
    if 'GANFeatLoss' not in LOSS_REGISTRY:
        LOSS_REGISTRY.register(GANFeatLoss)


def optimizers() -> None:
    """Make ``get_optimizer`` accept all of `optimizer_classes`; release 1.4.2 has only Adam, which is unchanged."""
    kinds = optimizer_classes()

    @replace(BaseModel, 'get_optimizer')
    def get_optimizer(original, self, optim_type, params, lr, **kwargs):
        if optim_type not in kinds:
            raise KeyError(f"train.optim_*.type: no optimizer '{optim_type}'.{suggestion(optim_type, kinds)} "
                           f"Known: {', '.join(sorted(kinds))}")
        return kinds[optim_type](params, lr=lr, **kwargs)


def optimizer_classes() -> dict[str, type]:
    """Return the optimizers of ``torch.optim`` by name, without LBFGS, whose closure no BasicSR model provides."""
    return {name: kind for name, kind in vars(torch.optim).items() if isinstance(kind, type)
            and issubclass(kind, torch.optim.Optimizer) and name not in ('Optimizer', 'LBFGS')}


def ema_buffers() -> None:
    """Copy buffers in ``model_ema``, which averages only parameters.

    Otherwise batch norm in ``net_g_ema`` keeps its initial statistics, and the network is validated and saved with
    them. Buffers are copied, not averaged, as ``torch.optim.swa_utils.AveragedModel`` does by default. Has no effect on
    networks whose buffers never change.
    """
    models = [BaseModel, *(model for _, model in MODEL_REGISTRY if isinstance(model, type))]
    owners = {base for model in models for base in model.__mro__}
    for owner in owners:
        if 'model_ema' not in vars(owner):
            continue

        @replace(owner, 'model_ema')
        def model_ema(original, self, *args, **kwargs):
            original(self, *args, **kwargs)
            sources = dict(self.get_bare_model(self.net_g).named_buffers())
            for name, buffer in self.net_g_ema.named_buffers():
                buffer.copy_(sources[name])


def shared_lmdb() -> None:
    """Share one lmdb environment between all datasets that read the same folder with the same settings.

    lmdb >= 3 raises if an environment is opened twice in a process, even one inherited by a forked worker, while
    BasicSR opens one per dataset: a folder used by two datasets (train and val, or two val sets) raised. The
    environment is closed with its last dataset. Sharing is safe, also across a fork, because reading takes no locks.
    """
    environments = weakref.WeakValueDictionary()

    class LmdbBackend(file_client.LmdbBackend):
        __doc__ = file_client.LmdbBackend.__doc__

        def __init__(self, db_paths, client_keys='default', readonly=True, lock=False, readahead=False, **kwargs):
            paths = [db_paths] if isinstance(db_paths, str) else list(db_paths)
            keys = [client_keys] if isinstance(client_keys, str) else list(client_keys)
            none: Any = []
            super().__init__(none, none, readonly, lock, readahead, **kwargs)  # checks that lmdb is installed
            if len(paths) != len(keys):
                raise ValueError(f'LmdbBackend: expected one client_key per db_path, got {keys} for {paths}.')
            self.db_paths = [str(path) for path in paths]
            options = dict(readonly=readonly, lock=lock, readahead=readahead, **kwargs)
            self._client = {key: self._open(path, options) for key, path in zip(keys, self.db_paths, strict=True)}

        @staticmethod
        def _open(path, options):
            import lmdb
            if not options['readonly'] or options['lock']:
                return lmdb.open(path, **options)
            same = (os.path.realpath(path), tuple(sorted(options.items())))
            environment = environments.get(same)
            if environment is None:
                environment = environments[same] = lmdb.open(path, **options)
            return environment

    file_client.LmdbBackend = file_client.FileClient._backends['lmdb'] = LmdbBackend


def prefetch_errors() -> None:
    """Re-raise errors of the ``prefetch_mode: cpu`` thread in the training loop.

    Otherwise the thread ends at the first error and training waits forever. Has no effect as long as no sample raises.
    """
    generator = prefetch_dataloader.PrefetchGenerator

    @replace(generator, 'run')
    def run(original, self):
        try:
            original(self)
        except BaseException as error:
            self.error = error
            self.queue.put(None)  # wakes the loop, for which None is the end

    @replace(generator, '__next__')
    def following(original, self):
        try:
            return original(self)
        except StopIteration:
            if getattr(self, 'error', None) is None:
                raise
        raise self.error


def local_rank() -> None:
    """Accept ``--local-rank``, which ``torch.distributed.launch`` of torch >= 2.0 passes instead of ``--local_rank``.

    Otherwise training stops with ``unrecognized arguments``. Has no effect without that argument, e.g. under torchrun.
    """
    options = importlib.import_module('basicsr.utils.options')

    @replace(options, 'parse_options')
    def parse_options(original, *args, **kwargs):
        sys.argv[1:] = [
            '--local_rank' + arg[len('--local-rank'):] if arg.partition('=')[0] == '--local-rank' else arg
            for arg in sys.argv[1:]
        ]
        return original(*args, **kwargs)

    for name in ('basicsr.train', 'basicsr.test'):  # imported by name
        vars(importlib.import_module(name))['parse_options'] = parse_options


def safe_yaml() -> None:
    """Read option files with a safe YAML loader, as UTF-8, and reject duplicate keys.

    BasicSR uses PyYAML's full loader, for which ``!!python/object/apply`` calls any function, and opens files in the
    encoding of the locale. The safe loader supports all tags of plain YAML, including ``!!float``; BasicSR's own option
    files give the same result.
    """

    class OrderedSafeLoader(UniqueKeyLoader):

        def __init__(self, stream: Any):
            super().__init__(read_text(stream.name, 'option file') if hasattr(stream, 'name') else stream)

    OrderedSafeLoader.add_constructor(
        yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, lambda loader, node: OrderedDict(loader.construct_pairs(node)))

    @replace(options, 'ordered_yaml')
    def ordered_yaml(original):
        return OrderedSafeLoader, original()[1]


def validation_under_ddp() -> None:
    """Unwrap the networks from DDP during validation.

    Only rank 0 validates, and DDP's ``forward`` synchronizes buffers with the other ranks, which are already in their
    next training step: with batch norm the run crashed or hung. Has no effect without DDP.
    """

    @replace(BaseModel, 'validation')
    def validation(original, self, *args, **kwargs):
        wrapped = {name: net for name, net in vars(self).items() if isinstance(net, DistributedDataParallel)}
        vars(self).update({name: net.module for name, net in wrapped.items()})
        try:
            return original(self, *args, **kwargs)
        finally:
            vars(self).update(wrapped)


def patient_ranks() -> None:
    """Raise the timeout of the process group to 12 hours.

    Rank 0 validates while the others wait in their next step, and NCCL ends a run after ten minutes of waiting;
    validating 50,000 images takes longer. Has no effect without distributed training.
    """

    @replace(dist_util, '_init_dist_pytorch')
    def init_dist_pytorch(original, backend, **kwargs):
        kwargs.setdefault('timeout', datetime.timedelta(hours=12))
        return original(backend, **kwargs)
