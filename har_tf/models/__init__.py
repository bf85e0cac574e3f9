"""Video classifiers as flat Keras functional graphs."""

from har_tf.models.cnn_gru import cnn_gru
from har_tf.models.frame_cnn import frame_cnn
from har_tf.models.gated import gated
from har_tf.models.googlenet import googlenet
from har_tf.models.i3d import i3d
from har_tf.models.resnext3d import resnext3d
from har_tf.models.video_swin import video_swin

__all__ = ["cnn_gru", "frame_cnn", "gated", "googlenet", "i3d", "resnext3d", "video_swin"]
