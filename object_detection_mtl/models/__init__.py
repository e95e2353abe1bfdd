"""Two-stage detectors: Faster R-CNN and R-FCN."""
