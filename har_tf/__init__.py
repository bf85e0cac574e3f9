"""har_tf: train a video classifier, see where and when it looked, and test whether that can be trusted."""

__version__ = "0.1.0"
