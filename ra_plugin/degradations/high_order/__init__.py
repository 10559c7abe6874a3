"""Real-world degradation: two stages of blur, resizing, noise and JPEG, drawn for each image."""
from ra_plugin.degradations.high_order.degradation import HighOrderDegradation

__all__ = ['HighOrderDegradation']
