"""Restoration networks that BasicSR does not have: those of the paper, and any in a file that spandrel knows."""
from ra_plugin.archs.dbpn_arch import DBPN
from ra_plugin.archs.interpolation_arch import Interpolation
from ra_plugin.archs.rdn_arch import RDN
from ra_plugin.archs.resnet_generator_arch import ResnetGenerator
from ra_plugin.archs.restorer_file import save_restorer
from ra_plugin.archs.spandrel_network import SpandrelNetwork
from ra_plugin.archs.srdensenet_arch import SRDenseNet
from ra_plugin.archs.srresnet_arch import SRResNet

__all__ = ['DBPN', 'Interpolation', 'RDN', 'ResnetGenerator', 'SRDenseNet', 'SRResNet', 'SpandrelNetwork',
           'save_restorer']
