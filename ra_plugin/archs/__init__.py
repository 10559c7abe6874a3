"""Restoration networks that the paper uses and BasicSR lacks."""
from ra_plugin.archs.resnet_generator_arch import ResnetGenerator
from ra_plugin.archs.srresnet_arch import SRResNet

__all__ = ['ResnetGenerator', 'SRResNet']
