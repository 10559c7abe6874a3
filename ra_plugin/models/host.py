"""The base class of the mixins in this folder: SRModel with the attributes they share, for type checkers alone.

At run time it is ``object``: a mixin stands before any class derived from BasicSR's BaseModel, and ``super()`` reaches
that class.
"""
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from basicsr.models.sr_model import SRModel
    from torch import nn

    from ra_plugin.recognizers import Recognizer

    class Host(SRModel):
        opt: dict[str, Any]
        device: torch.device
        net_g: nn.Module
        net_t: nn.Module | None
        optimizers: list[torch.optim.Optimizer]
        schedulers: list[Any]
        log_dict: dict[str, Any]
        metric_results: dict[str, float]
        best_metric_results: dict[str, dict[str, Any]]
        lq: torch.Tensor
        gt: torch.Tensor
        output: torch.Tensor
        output_t: torch.Tensor
        label: Any
        sizes: Sequence[tuple[int, int]] | None
        cri_recog: Any  # an nn.ModuleList of recognition losses, which type checkers take for plain modules
        eval_recognizers: dict[str, Recognizer]

        budget: Any  # a `recog_budget.Budget`, or None

        @property
        def _recog_every(self) -> int: ...

        def keep_network(self, net: nn.Module, name: str) -> None: ...

        def labeled_recognizers(self) -> list[Recognizer]: ...

        def recognition_loss(self, images: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]: ...

        def build_eval_recognizers(self) -> None: ...

        def build_judge(self, block: Any, where: str) -> Recognizer: ...

        def judging(self) -> Any: ...

        def not_training(self) -> Any: ...

        def transform(self) -> None: ...

    class PoolHost(Host):
        queue_size: int
        queue_ptr: int
        queue_label: torch.Tensor

        def _dequeue_and_enqueue(self) -> None: ...
else:
    Host = PoolHost = object
