"""Dataclasses of the keys that this package adds to BasicSR's option files, one for each block."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal

from basicsr.utils import registry

from ra_plugin.builders.anchor_check import AnchorBlock
from ra_plugin.builders.option_flow import Place
from ra_plugin.losses.recognizer_loss import RecognizerLoss
from ra_plugin.metrics.recognition_metrics import RecognitionMetrics
from ra_plugin.models.recog_budget import BudgetOptions
from ra_plugin.models.training_step import StepOptions
from ra_plugin.option_types import Positive
from ra_plugin.options import OptionError, build_block, check_arguments, unknown
from ra_plugin.recognizers.trainable import LearnerBlock, check_learner, is_trainable
from ra_plugin.registry import RECOGNIZER_REGISTRY
from ra_plugin.type_hints import TypedBlock


class _RecognitionLoss:
    """Note in an annotation: the block of a recognition loss, for training."""

    kind = 'recognition loss'

    def check(self, block: Mapping[str, Any], where: str) -> None:
        """Check the block, with that of its recognizer.

        Raises:
            OptionError: No such loss, arguments that it does not take, or no single number to train with.
        """
        losses = recognition_losses()
        name = block.get('type')
        if not isinstance(name, str) or name not in losses:
            raise unknown(self.kind, name, sorted(losses), f'{where}.type', 'Registered')
        cls = losses[name]
        arguments = check_arguments(cls, {key: value for key, value in block.items() if key != 'type'}, where)
        if arguments.get('reduction') == 'none':
            raise OptionError(f"{where}.reduction: training needs one number; 'none' is for use from Python. "
                              'Use mean or sum.')
        if is_trainable(recognizer := arguments['recognizer']):
            kind = RECOGNIZER_REGISTRY.get(recognizer['type'], f'{where}.recognizer')
            check_learner(cls, kind, arguments.get('loss_weight', 1), arguments.get('gradient_checkpointing', False),
                          where)


LossBlock = Annotated[Mapping[str, Any], _RecognitionLoss()]


def recognition_losses() -> dict[str, type[RecognizerLoss]]:
    """Return the registered recognition losses by name."""
    return {name: cls for name, cls in registry.LOSS_REGISTRY
            if isinstance(cls, type) and issubclass(cls, RecognizerLoss)}


def _loss_class(block: Mapping[str, Any]) -> type[RecognizerLoss]:
    return recognition_losses()[block['type']]


@dataclass(frozen=True, kw_only=True)
class FileKeys:
    """Keys of this package at the top level of an option file.

    Attributes:
        network_t: Transformer T, an architecture block: the recognition loss then trains T alone. Its weights are
            ``path.pretrain_network_t``, with ``param_key_t`` and ``strict_load_t`` as BasicSR has them for
            ``network_g``. Default: none.
        custom_imports: Modules to import first, e.g. with recognizers of your own: ``[my_package.recognizers]``.
            Default: none.
        base_model_type: BasicSR's model class, where ``model_type`` is ``RecogAwareModel``. Default: ``model_type``.
    """

    network_t: TypedBlock | None = None
    custom_imports: Sequence[str] | None = None
    base_model_type: str | None = None


@dataclass(frozen=True, kw_only=True)
class TrainKeys(StepOptions):
    """Keys of this package in ``train``.

    Attributes:
        recog_opt: A recognition loss, or a list of them. Default: none.
        recog_every: Take the recognition loss in every k-th step alone, k times as strong (a ``network_t`` learns in
            those steps alone): less time, and a worse result: with 2, at small scale, -1.4 points and -0.2 dB.
            ``l_recog`` is logged where ``print_freq`` meets those steps. Default: 1.
        recog_budget: What the recognition loss may cost in dB; its weight then follows what it costs, see
            docs/RESTORERS.md. Default: none, the weight stays.
        anchor_opt: A pixel loss that keeps the images of the network that takes the recognition loss (``network_t``, or
            ``network_g`` without one) near others; logged as ``l_anchor``. Default: none.
        log_grad_ratio: Log the norm of the recognition gradient over that of the pixel gradient (with that of an
            anchor), at the restored image. Default: false.
        optim_t: Optimizer of T. Default: Adam, lr 1e-4.
        scheduler_t: Learning rate schedule of T. Default: as ``train.scheduler``.
        optim_r: Optimizer of a recognizer that learns (``trainable: true``), which takes the loss without
            ``loss_weight``. With ``train.optim_g: ~`` the recognizer alone learns, and ``network_g`` stays as it is.
            Default: SGD, lr 1e-3, momentum 0.9.
        scheduler_r: Learning rate schedule of a recognizer that learns. Default: as ``train.scheduler``.
    """

    recog_opt: LossBlock | Sequence[LossBlock] | None = None
    recog_every: Positive | None = None
    recog_budget: BudgetOptions | None = None
    anchor_opt: Annotated[Mapping[str, Any], AnchorBlock()] | None = None
    log_grad_ratio: bool | None = None
    optim_t: TypedBlock | None = None
    scheduler_t: TypedBlock | None = None
    optim_r: TypedBlock | None = None
    scheduler_r: TypedBlock | None = None

    @property
    def losses(self) -> list[tuple[str, Mapping[str, Any]]]:
        """Return each block of ``recog_opt`` with its place."""
        if isinstance(self.recog_opt, Sequence):
            return [(f'train.recog_opt[{i}]', block) for i, block in enumerate(self.recog_opt)]
        return [('train.recog_opt', self.recog_opt)] if self.recog_opt else []

    def learner(self) -> Mapping[str, Any] | None:
        """Return the block of the recognizer that learns, if there is one.

        Raises:
            OptionError: There are several; or none, and there is an optimizer or a schedule for it, or a loss that
                shares it.
        """
        learning = [(place, block) for place, block in self.losses if is_trainable(block['recognizer'])]
        blocks = [block['recognizer'] for _, block in learning if _loss_class(block).needs == 'label']
        if len(blocks) > 1:
            raise OptionError(f'train.recog_opt: expected one recognizer with trainable: true, got {len(blocks)}.')
        for place, block in learning:
            if not blocks or block['recognizer'] != blocks[0]:
                raise OptionError(f'{place}.recognizer.trainable: {block["type"]} does not train it. Expected the same '
                                  f'block in a RecogLoss, got {"another" if blocks else "none"}.')
        for key in ('optim_r', 'scheduler_r'):
            if getattr(self, key) and not blocks:
                raise OptionError(f'train.{key}: there is no recognizer to train. Set trainable: true in that of '
                                  'train.recog_opt, or remove it.')
        return blocks[0] if blocks else None


@dataclass(frozen=True, kw_only=True)
class ValKeys:
    """Keys of this package in ``val``.

    Attributes:
        recognizers: Name -> recognizer block: they judge the restored 8-bit images; their scores are logged as
            ``top1_<name>``, ``voc12_mAP_<name>``, ``mIoU_<name>``, ... Default: none.
        recognition_metrics: Task -> metric or metrics. Classification: ``top1``, ``top5``; detection: ``voc07`` (11
            points), ``voc12`` (area), ``coco``, ``coco_segm``; segmentation: ``mIoU``, ``aAcc``, ``mAcc``; text:
            ``exact_match``, ``word_accuracy``, ``cer``; embedding: ``tar_at_far`` (at a false accept rate of 1e-3),
            ``recall_at_1``. All are shares, in ``[0, 1]`` but for ``cer``. The agreement with the answers on clean
            images needs no labels and is no accuracy: ``top1_agreement``, ``kl``; ``box_agreement``;
            ``miou_agreement``; ``text_agreement``, ``word_agreement``, ``cer_to_clean``; ``mean_cosine``. Default:
            ``top1``, ``top5``; ``voc12``; ``mIoU``, ``aAcc``; ``exact_match``, ``cer``; ``tar_at_far``,
            ``recall_at_1``; without labels, agreement.
    """

    recognizers: Mapping[str, LearnerBlock] | None = None
    recognition_metrics: RecognitionMetrics | None = None


@dataclass(frozen=True, kw_only=True)
class LoggerKeys:
    """Keys of this package in ``logger``.

    Attributes:
        console_level: Least level of the messages on the console; the log file has all of them. Default: ``info``.
    """

    console_level: Literal['debug', 'info', 'warning', 'error'] | None = None


BLOCKS: dict[Place, type] = {(): FileKeys, ('train',): TrainKeys, ('val',): ValKeys, ('logger',): LoggerKeys}
OURS: dict[Place, set[str]] = {place: {field.name for field in fields(cls)} for place, cls in BLOCKS.items()}


def own_block(opt: Mapping[str, Any], place: Place) -> Any:
    """Return the keys of this package in one block of an option file: checked, as the dataclass of that block.

    Raises:
        OptionError: A value that is not as it is annotated.
    """
    block = opt
    for key in place:
        block = block.get(key) or {}
    given = {key: value for key, value in block.items() if key in OURS[place]}
    return build_block(BLOCKS[place], given, '.'.join(place))


def check_places(opt: Mapping[str, Any]) -> None:
    """Check that the keys of this package stand in the block that they are for.

    Raises:
        OptionError: One does not; with the block that it belongs in.
    """
    for place, own in OURS.items():
        block = opt
        for key in place:
            block = block.get(key) or {}
        for key in block:
            other = [p for p, names in OURS.items() if key in names and p != place]
            if other and key not in own:
                raise OptionError(f"{'.'.join(place) or 'option file'}: '{key}' belongs under "
                                  f"{'.'.join(other[0]) or 'the top level'}.")
