"""Recognition losses, for use alone or under ``train.recog_opt`` of a BasicSR option file."""
from ra_plugin.losses.recog_consistency_loss import RecogConsistencyLoss
from ra_plugin.losses.recog_feature_loss import RecogFeatureLoss
from ra_plugin.losses.recog_loss import RecogLoss

__all__ = ['RecogConsistencyLoss', 'RecogFeatureLoss', 'RecogLoss']
