"""Training of a recognizer together with its restorer: appendix A of Liu et al., arXiv:1910.09185.

The network of the recognizer is ``net_r``: it is moved to devices, wrapped, compiled, saved and resumed like BasicSR's
networks, with the optimizer ``train.optim_r`` and the schedule ``train.scheduler_r``. If the restorer has no optimizer
(``train.optim_g: ~``), it is not changed, and only the recognizer is trained, on restored images.
"""
import contextlib
import copy
import os
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from ra_plugin.models.host import Host
from ra_plugin.recognizers import Recognizer
from ra_plugin.recognizers.trainable import is_trainable


class TrainableRecognizerMixin(Host):
    """Mixin that trains a loss's recognizer if its block has ``trainable: true``; put it before `RecogAwareMixin`.

    The recognizer takes one step per step of the class, from the same backward pass: it minimizes the recognition loss
    without ``loss_weight``, which is the weight of that loss for the restorer only. Its learning rate is therefore
    chosen as in any other training. The paper only says that its optimizer is SGD with momentum; here the network is
    in training mode, as in any fine-tuning. A feature loss with the same block shares it, and does not train it.
    """

    net_r: nn.Module | None = None

    @property
    def _restorer_learns(self) -> bool:
        return self.opt['train'].get('optim_g') is not None

    def setup_optimizers(self) -> None:
        if self._restorer_learns:
            super().setup_optimizers()
        loss = next((cri for cri in self.cri_recog if cri.recognizer.trainable and cri.needs == 'label'), None)
        if loss is None:
            return
        self._learner: Recognizer = loss.recognizer
        weight = loss.loss_weight  # a hook that referenced the loss, and so the parameters, would never be freed
        for parameter in self._learner.model.parameters():
            parameter.register_hook(lambda grad: grad / weight)
        network: nn.Module = self.model_to_device(self._learner.model)
        self.net_r = self._learner.model = network
        self.print_network(network)
        options = copy.deepcopy(self.opt['train'].get('optim_r') or {'type': 'SGD', 'lr': 1e-3, 'momentum': 0.9})
        self.optimizer_r = self.get_optimizer(options.pop('type'), list(network.parameters()), **options)
        self.optimizers.append(self.optimizer_r)

    def build_judge(self, block: Mapping[str, Any], where: str) -> Recognizer:
        """Return the trainable recognizer, in its current state, for its own block in ``val.recognizers``."""
        if self.net_r is not None and is_trainable(block):
            return self._learner
        return super().build_judge(block, where)

    def optimize_parameters(self, current_iter: int) -> None:
        if self.net_r is None:
            return super().optimize_parameters(current_iter)
        self.optimizer_r.zero_grad()
        if self._restorer_learns:
            super().optimize_parameters(current_iter)
        else:
            self._teach_recognizer()
        self.optimizer_r.step()

    def _teach_recognizer(self) -> None:
        """Backpropagate the recognition loss on the restored batch, with the restorer in evaluation mode."""
        self.net_g.eval()
        with torch.no_grad():
            self.output = self.net_g(self.lq)
        loss, log = self.recognition_loss(self.output)
        loss.backward()
        self.log_dict = self.reduce_loss_dict(OrderedDict(log))

    @contextlib.contextmanager
    def judging(self) -> Iterator[None]:
        """Evaluate in evaluation mode and without DDP, since the processes have different numbers of batches."""
        with super().judging():
            if self.net_r is None:
                yield
                return
            wrapped = self._learner.model
            self._learner.model = self.get_bare_model(wrapped)
            self._learner.eval()
            try:
                yield
            finally:
                self._learner.model = wrapped
                self._learner.train()

    def save(self, epoch: int, current_iter: int) -> None:
        if self.net_r is not None:  # before the training state, like net_t
            self.save_network(self.net_r, 'net_r', current_iter)
        super().save(epoch, current_iter)

    def resume_training(self, resume_state: Mapping[str, Any]) -> None:
        if self.net_r is not None:  # the options have no network_r, from which BasicSR derives the file names
            paths = self.opt['path']
            paths['pretrain_network_r'] = os.path.join(paths['models'], f'net_r_{resume_state["iter"]}.pth')
        super().resume_training(resume_state)
