"""Where and when a model looked: taps, explanations on them, and pictures of both."""

from har_tf.explain.explanation import Explanation
from har_tf.explain.gradcam import gradcam, gradcam_at
from har_tf.explain.overlay import overlay, save_overlay
from har_tf.explain.taps import Tap, taps

__all__ = ["Explanation", "Tap", "gradcam", "gradcam_at", "overlay", "save_overlay", "taps"]
