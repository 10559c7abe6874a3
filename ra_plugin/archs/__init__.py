"""Restoration networks of the paper that BasicSR does not have."""
from ra_plugin.archs.dbpn_arch import DBPN
from ra_plugin.archs.interpolation_arch import Interpolation
from ra_plugin.archs.rdn_arch import RDN
from ra_plugin.archs.resnet_generator_arch import ResnetGenerator
from ra_plugin.archs.srdensenet_arch import SRDenseNet
from ra_plugin.archs.srresnet_arch import SRResNet

__all__ = ['DBPN', 'Interpolation', 'RDN', 'ResnetGenerator', 'SRDenseNet', 'SRResNet']
