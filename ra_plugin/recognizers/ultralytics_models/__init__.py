"""Networks of ultralytics (YOLO): reading their files, preparing images as its predictor does, and the recognizers."""
