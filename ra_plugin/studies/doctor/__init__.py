"""The check of a recognizer before it is used for training."""
