"""SmoothGrad (Smilkov et al. 2017): the mean gradient over noisy copies of a clip."""

import keras
import numpy as np

from har_tf.explain.explanation import Explanation
from har_tf.explain.options import check
from har_tf.explain.pixel_gradients import over_colours, pixel_gradients


def smoothgrad(
    model: keras.Model,
    clips: np.ndarray,
    class_index=None,
    normalize: str | None = "clip",
    batch_size: int = 8,
    samples: int = 20,
    noise: float = 0.15,
    seed: int = 0,
    colours: str = "max",
) -> Explanation:
    """Explains the class of each clip by the mean, over noisy copies, of the gradient of its logit at each pixel.

    Gaussian noise is added to every pixel and colour, also beyond the range of pixels. The absolute value is taken of
    the mean, of the colours the largest, so that the map has no sign, as that of `gradient`.

    Args:
        samples: noisy copies, each a forward and a backward pass; the paper takes 50.
        noise: standard deviation as a share of the range of the clip's pixels; the paper takes 0.1 to 0.2.
        seed: of the noise, which is the same for every clip.
        colours: as in `gradient`.
        model, clips, class_index, normalize, batch_size: as in `gradcam`; the model has one input.

    Returns:
        An `Explanation`; its `maps` and `signed` are (B, T, H, W).

    Raises:
        ValueError: as in `gradient`; less than one sample, or negative noise.
    """
    check(colours=colours)
    if samples < 1 or noise < 0:
        raise ValueError(f"samples are at least 1, and noise is not negative. Received: {samples=}, {noise=}")
    found = pixel_gradients(model, clips, class_index, normalize, batch_size)
    deviation = noise * np.ptp(found.clips, axis=(1, 2, 3, 4))

    def noisy(row: int, number: int) -> np.ndarray:
        drawn = np.random.default_rng((seed, number)).standard_normal(found.clips.shape[1:], "float32")
        return found.clips[row] + deviation[row] * drawn

    signed = over_colours(found.mean(noisy, samples, "SmoothGrad"), colours)
    settings = {"samples": samples, "noise": noise, "seed": seed, "colours": colours}
    return found.explanation(signed, "SmoothGrad", settings, normalize)
