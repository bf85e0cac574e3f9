"""A `.keras` file that knows its class names and how its clips were taken, and nothing else unexpected by Keras."""

import json
import re
import shutil
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import keras

from har_tf.files.errors import DAMAGE, reason_of
from har_tf.files.keras_file import check_keras_file, json_member
from har_tf.files.whole import scratch_file, whole_file
from har_tf.models import losses
from har_tf.models.batch_norm import in_one_operation
from har_tf.models.grouped_conv import quicken
from har_tf.models.logits import check_outputs, classes_of
from har_tf.models.max_pooling import first_of_ties, with_tuples
from har_tf.models.pixels import of_pixels
from har_tf.models.resizing import as_products
from har_tf.models.versions import lean, newer
from har_tf.models.weights.checkpoints import keras_shapes
from har_tf.names import CLASS_NAMES, ClassNames, check_names, names_of_model, ordered_names

_CLIP_MEMBER = "clip.json"
_PROVENANCE = "provenance.json"
_CALIBRATION = "calibration.json"

# The arguments of `read_clip` that a model's shape does not tell, as they are where a file says nothing.
CLIP = {"sampling": "uniform", "short": "repeat_last", "fit": "stretch", "by": "frame"}


def check_members(model: keras.Model, names: Sequence[str], clip: Mapping[str, str]) -> None:
    """Raises ValueError for another number of names than classes, or another setting of clips than those of `CLIP`."""
    check_outputs(model)
    check_names(names, f"model {model.name!r}")
    if len(names) != classes_of(model):
        outputs = model.outputs[0].shape[-1]
        need = "1 output needs two names" if outputs == 1 else f"{outputs} outputs need as many names"
        raise ValueError(f"{need}. Received: {len(names)} names")
    if clip.keys() != CLIP.keys():
        raise ValueError(
            f"Clips are taken by {', '.join(CLIP)}. Received: {', '.join(sorted(clip.keys() - CLIP.keys()))}"
        )


def save_model(
    model: keras.Model,
    path: str | Path,
    class_names: ClassNames | None,
    clip: Mapping[str, str] | None = None,
    provenance: Mapping[str, Any] | None = None,
    calibration: Mapping[str, Any] | None = None,
) -> Path:
    """Saves a classifier with the names of its classes, how it was given its clips, and where it comes from.

    These are further members of the zip archive that a `.keras` file is, so `keras.models.load_model` reads the file as
    any other, also where `har_tf` is not installed; a Video Swin only behind `import har_tf.models`.

    Args:
        model: its last axis has one entry a class.
        path: a file ending in `.keras`; replaced only when the new one is complete.
        class_names: names in the order of the outputs; None of a model whose classes nobody named, or that has none.
        clip: sampling, short, fit and by, the arguments of `read_clip` that its clips were read with; None: `CLIP`.
        provenance: weights, data, split, date, versions: plain values.
        calibration: what `har_tf.evaluate.calibration.Calibration.as_dict` gives; None: its probabilities are not.

    Raises:
        ValueError: another ending, another number of names than outputs, or another setting of clips.
        OSError: the file cannot be written.
    """
    path, clip = Path(path), CLIP | dict(clip or {})
    if path.suffix != ".keras":
        raise ValueError(f"Model files end in .keras. Received: path={path}")
    members: dict[str, Any] = {_CLIP_MEMBER: clip}
    if class_names is not None:
        try:
            members[CLASS_NAMES] = ordered_names(class_names, "the model")
            check_members(model, members[CLASS_NAMES], clip)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
    if provenance:
        members[_PROVENANCE] = dict(provenance)
    if calibration:
        members[_CALIBRATION] = dict(calibration)
    # The same layers without optimiser: what is saved is for inference, and a third of the size.
    bare = keras.Model(model.inputs, model.outputs, name=model.name)
    with whole_file(path, 4 * bare.count_params()) as temporary:
        bare.get_config = partial(lean, bare.get_config())
        bare.save(temporary)
        with zipfile.ZipFile(temporary, "a") as archive:
            for name, value in members.items():
                archive.writestr(name, json.dumps(value))
    return path


def save_weights(model: keras.Model, path: str | Path) -> None:
    """Writes what `model.save_weights` does, whole or not at all.

    Where a disk gets full HDF5 ends the process by SIGSEGV. Within an archive Keras has it in memory.

    Args:
        model: any.
        path: a file ending in `.weights.h5`.

    Raises:
        OSError: the file cannot be written.
    """
    path = Path(path)
    beside = path.with_name(f"{path.name}.keras")
    with whole_file(path, 4 * model.count_params()) as part, scratch_file(beside) as archive:
        model.save(archive)
        with zipfile.ZipFile(archive) as members, members.open("model.weights.h5") as source, part.open("wb") as target:
            shutil.copyfileobj(source, target)


def clip_settings(path: str | Path) -> dict[str, str]:
    """The arguments sampling, short, fit and by of `read_clip` for clips of a saved model, or those of `CLIP`.

    Raises:
        ValueError: not a .keras file, or settings that are none.
    """
    found = json_member(path, _CLIP_MEMBER) or {}
    known = isinstance(found, dict) and found.keys() <= CLIP.keys()
    if not known or not all(isinstance(value, str) for value in found.values()):
        received = f"{found!a}"[:300]
        raise ValueError(f"{path}: {_CLIP_MEMBER} says how clips are taken by {', '.join(CLIP)}. Received: {received}")
    return CLIP | found


def provenance(path: str | Path) -> dict[str, Any]:
    """Where a saved model comes from; empty where the file does not say.

    Raises:
        ValueError: not a .keras file.
    """
    found = json_member(path, _PROVENANCE)
    return found if isinstance(found, dict) else {}


def calibration(path: str | Path) -> Any:
    """What a saved model says of its calibration, as `save_model` was given it; None where it says nothing.

    Raises:
        ValueError: not a .keras file.
    """
    return json_member(path, _CALIBRATION)


def load_model(path: str | Path, **taken: Any) -> tuple[keras.Model, tuple[str, ...]]:
    """Loads a classifier and its class names. Video Swin's layer is known here, as all of `har_tf.models` is imported.

    The names come from inside the file, else from `class_names.json` beside it, else they are "class 0", "class 1", ...
    A JSON file of names is a list in the order of the outputs, or a label map: {name: number} or {number: name}.

    Args:
        path: a `.keras` file.
        **taken: scaling, output, num_frames and size, as in `har_tf.models.pixels.of_pixels`.

    Returns:
        (model, class names).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not a Keras model, one without one output (B, classes), or other names than outputs.
    """
    path = Path(path)
    check_keras_file(path)
    names = names_of_model(path)
    try:
        if (zipfile.Path(path) / "model.weights.h5").is_file():
            keras_shapes(path)  # refuses what would take more memory than the file has
        with warnings.catch_warnings():
            # Weights that are not found in a damaged file: Keras would go on with random ones.
            warnings.filterwarnings("error", message=".*freshly-initialized")
            model = as_here(keras.models.load_model(path, compile=False))
        compiled = (json_member(path, "config.json") or {}).get("compile_config") or {}
        model.loss = losses.from_config(compiled.get("loss"))
    except (*DAMAGE, UserWarning) as error:
        raise ValueError(f"{path}: not a model that Keras can load ({newer(path) or _reason(error)})") from error
    try:
        model = of_pixels(model, **taken)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    names = tuple(f"class {i}" for i in range(classes_of(model))) if names is None else names
    names = both(model, names, str(path))
    if len(names) != classes_of(model):
        beside = path.with_name(CLASS_NAMES)
        where = path if json_member(path, CLASS_NAMES) is not None else beside
        raise ValueError(f"{where}: {model.outputs[0].shape[-1]} outputs, but {len(names)} class names")
    return model, names


def layers_of(model: keras.Model) -> str:
    """Kinds and settings of a model's layers, as JSON; without their names, for Keras numbers them by process."""
    layers = [[type(layer).__name__, {**layer.get_config(), "name": None}] for layer in model.layers]
    return json.dumps(layers, sort_keys=True, default=str)


def as_here(model: keras.Model) -> keras.Model:
    """Lets a model that Keras has loaded compute as those of `har_tf.models` do on this machine, and returns it."""
    return as_products(first_of_ties(quicken(in_one_operation(with_tuples(model)))))


def _reason(error: Exception) -> str:
    """Why Keras could not load a file, and what helps, in a sentence."""
    unknown = re.search(r"Could not locate (class|function) '([^']{1,100})'", str(error))
    if unknown:
        return (
            f"it needs the {unknown[1]} {unknown[2]!r}, which is not one of Keras. Load it where that is defined, by "
            "keras.models.load_model, and give the model to har_tf.Classifier(model, class_names)"
        )
    if "deserialization of a `Lambda` layer" in str(error):
        return (
            "it holds Python code in a Lambda layer, which is not run. If you trust the file, give "
            "keras.models.load_model(path, safe_mode=False) to har_tf.Classifier(model, class_names)"
        )
    while error.__cause__ or error.__context__:  # the innermost says what is wrong, the others that something is
        error = error.__cause__ or error.__context__
    return reason_of(error)


def both(model: keras.Model, names: ClassNames, where: str = "the model") -> tuple[str, ...]:
    """The names of a model's classes, of which one that stands for a single output has its absence in front of it.

    Raises:
        ValueError: neither a list nor a label map, or names that cannot be shown; the message says `where`.
    """
    names = ordered_names(names, where)
    single = len(names) == 1 and model.outputs[0].shape[-1] == 1
    return (f"not {names[0]}", names[0]) if single else tuple(names)
