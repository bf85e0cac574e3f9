"""Where and when a model looked: taps, explanations on them, and pictures of both."""

from har_tf.explain.cam3d import Layerwise, cam3d, layerwise, sum_gradcam
from har_tf.explain.explanation import Explanation
from har_tf.explain.gradcam import gradcam, gradcam_at
from har_tf.explain.methods import by_method
from har_tf.explain.overlay import overlay, save_overlay
from har_tf.explain.windows import VideoExplanation, explain_video
from har_tf.models.taps import Tap, stages, taps

__all__ = [
    "Explanation",
    "Layerwise",
    "Tap",
    "VideoExplanation",
    "by_method",
    "cam3d",
    "explain_video",
    "gradcam",
    "gradcam_at",
    "layerwise",
    "overlay",
    "save_overlay",
    "stages",
    "sum_gradcam",
    "taps",
]
