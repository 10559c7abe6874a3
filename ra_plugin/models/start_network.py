"""The network that a training starts from: in a file, since what refers to it has to find it after an interruption."""
import os

from torch import nn

from ra_plugin.models.host import Host
from ra_plugin.options import OptionError

_FILE = 'net_g_start.pth'


class StartNetworkMixin(Host):
    """Mixin that keeps the network that the training starts from, if something `needs_start`.

    It is the one that is validated: with ``ema_decay`` the average.
    """

    needs_start = False

    def validated_network(self) -> nn.Module:
        """Return the network that validation uses, without the wrapper of several processes."""
        return self.get_bare_model(getattr(self, 'net_g_ema', self.net_g))

    def keep_start(self) -> None:
        """Write the network to the folder of the networks; the loop calls it before the first step of a run."""
        if self.needs_start:
            self.keep_network(self.validated_network(), _FILE)

    def load_start(self, network: nn.Module) -> None:
        """Load the weights of the network that the run started from.

        Raises:
            OptionError: The run has not kept it, e.g. because its option file did not ask for that yet.
        """
        path = os.path.join(self.opt['path']['models'], _FILE)
        if not os.path.isfile(path):
            raise OptionError(f'{path}: missing. It is the network that the run started from, which recog_budget and '
                              'anchor_opt refer to. Put it back, or start a new run with path.pretrain_network_g.')
        self.load_network(network, path, True, 'params')
