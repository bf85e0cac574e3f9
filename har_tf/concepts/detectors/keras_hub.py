"""Detectors of keras-hub, by the names of their presets."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

import numpy as np

from har_tf import quiet
from har_tf.concepts.detectors.base import NMS, SCORE, Detections, DetectorError, class_names, kept, letterbox


class KerasHubDetector:
    """A detector of keras-hub, such as "retinanet_resnet50_fpn_coco" or "dfine_small_coco".

    keras-hub is an extra (`pip install har_tf[detectors]`) and downloads the weights. Frames are scaled evenly into the
    network's input and padded here, because what its own preprocessor does differs between presets.

    Args:
        preset: its name, or a folder that `save_to_preset` wrote.
        names: names of its classes; None: COCO's.
        score: the least score of a detection.
        nms: the most IoU of two boxes of one class.

    Raises:
        DetectorError: keras-hub is missing, or the preset is not known, or not a detector.
    """

    def __init__(self, preset: str, names: Sequence[str] | None = None, score: float = SCORE, nms: float = NMS) -> None:
        if not importlib.util.find_spec("keras_hub"):
            raise DetectorError(
                f"{preset}: is no file, and as a preset of keras-hub it needs the package, which is missing. "
                f"Install it: pip install har_tf[detectors]. Files end in .onnx, .tflite or .json"
            )
        quiet.import_tensorflow()
        import keras_hub

        try:
            self._model = keras_hub.models.ObjectDetector.from_preset(preset)
        except Exception as error:  # of keras, kagglehub, or the network
            reason = str(error).partition("\n")[0]
            raise DetectorError(f"{preset}: keras-hub cannot load this preset of an object detector: {reason}") from (
                error
            )
        self._size = self._model.preprocessor.image_converter.image_size
        if self._size is None:
            raise DetectorError(f"{preset}: the preset does not say the size of its input. Expected one that does")
        if hasattr(self._model.prediction_decoder, "confidence_threshold"):
            self._model.prediction_decoder.confidence_threshold = score
        self._score, self._nms = score, nms
        self.names = class_names(self._model.num_classes, names, preset)
        self.settings = {"preset": preset, "size": list(self._size), "score": score, "nms": nms}

    def __call__(self, frames: np.ndarray, video: str = "", start: int = 0) -> list[Detections]:
        import keras

        fitted = [letterbox(frame, self._size) for frame in frames]
        pictures = np.stack([picture for picture, _ in fitted])
        found = self._model.predict(pictures, batch_size=4, verbose=0)
        boxes = keras.utils.bounding_boxes.convert_format(
            np.asarray(found["boxes"], np.float32),
            source=self._model.bounding_box_format,
            target="xyxy",
            height=self._size[0],
            width=self._size[1],
        )
        boxes, result = np.asarray(boxes), []
        for i, (_, place) in enumerate(fitted):
            count = int(found["num_detections"][i])
            result.append(
                kept(
                    place.undo(boxes[i, :count]), found["confidence"][i, :count], found["labels"][i, :count],
                    frames.shape[1:3], self._score, self._nms,
                )
            )  # fmt: skip
        return result
