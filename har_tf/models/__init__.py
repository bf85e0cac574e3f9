"""Video classifiers as flat Keras functional graphs."""

from har_tf.models.cnn_gru import cnn_gru
from har_tf.models.frame_cnn import frame_cnn
from har_tf.models.googlenet import googlenet

__all__ = ["cnn_gru", "frame_cnn", "googlenet"]
