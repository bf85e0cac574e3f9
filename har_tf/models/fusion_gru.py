"""Fusion-GRU: frame features of several ImageNet networks side by side, two wide GRU layers over time.

The networks are frozen, so their features are the same in every epoch: `har_tf.store.features` computes them once,
`fusion_gru_head` trains on them, and `end_to_end` puts networks and trained head together again, into one model from
raw frames to classes that can be saved, run and explained like any other.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import keras
from keras import layers, ops

from har_tf.models import backbones
from har_tf.models.building import classifier, clip_and_frames, with_weights
from har_tf.models.resizing import as_product
from har_tf.models.taps import taps

FUSIONS = ("concatenate", "sum", "score_average")
# Side of the square frames that a network was trained on; 224 where nothing is said.
FRAME_SIZES = {"InceptionResNetV2": 299, "InceptionV3": 299, "Xception": 299}

Weights = str | Path | None


def fusion_gru(
    input_shape=(10, 299, 299, 3),
    num_classes=101,
    backbones=("GoogLeNet", "InceptionResNetV2"),
    backbone_weights=None,
    backbone_trainable=False,
    fusion="concatenate",
    gru_units=(1000, 1000),
    bidirectional=False,
    dropout=0.0,
    frame_sizes=None,
    weights=None,
):
    """Fusion-GRU classifier of video clips, from raw frames to classes.

    Source: the paper on human action recognition by a fusion of Inception-ResNet-V2 and GoogLeNet with a deep GRU,
    section III and Figure 2. Every network sees every frame at its own size; its globally averaged last feature map is
    the frame's activation. The activations are fused, a GRU of 1000 returns the sequence, a second one its last step,
    and a softmax names the action. Where the paper is open or contradicts itself:

    - Equation (3) applies the reset gate to the old state before the matrix, W (r * o), with one bias a gate. That is
      Keras' `reset_after=False`; its default, `reset_after=True`, is another equation with two biases. Equation (4)
      keeps the old state with weight z, as Keras does either way.
    - `bidirectional`: section III has two unidirectional layers, and is the default; the conclusion speaks of a
      "DB-GRU" that runs forward and backward. Both directions of a layer are then concatenated.
    - `fusion`: the paper fuses activations by putting them side by side. "sum" adds them; the streams that are wider
      than the narrowest are projected to its width first, by a matrix that is learnt (`project_<backbone>`).
      "score_average" gives each stream a head of its own and averages their probabilities.
    - The centre is cut out of the frames before they get here, see `har_tf.store.prepare(fit="crop")`.
    - Dropout is not mentioned: it is off.

    Layers of a network carry its name in front, as `GoogLeNet_conv1_7x7_s2`; `features_<backbone>` are the frame
    activations (B, T, C).

    Args:
        input_shape: (time, height, width, channels) of a clip with height = width; RGB in [0, 255], uint8.
        num_classes: size of the last layer, which is called `predictions`.
        backbones: the networks, keys of `har_tf.models.backbones.BACKBONES`. One of them alone is the single-stream
            row of the paper's Table II.
        backbone_weights: what the networks start from: None (random) or "imagenet" for all of them, or for each its
            own of None, "imagenet" and the path of a published file, by name.
        backbone_trainable: False freezes the networks.
        fusion: "concatenate", "sum" or "score_average".
        gru_units: units of the GRU layers; the last returns its final state.
        bidirectional: whether the GRU layers run in both directions.
        dropout: rate before the last layer.
        frame_sizes: side in pixels that frames are resized to for a network, by its name; None or a name that is
            missing: what the network was trained on, 299 for the Inception networks from version 3 on and Xception,
            224 for the others.
        weights: None, or the path of a `.weights.h5` or `.keras` file of this architecture.

    Returns:
        A `keras.Model` from (B, T, H, W, 3) to (B, num_classes) probabilities.

    Raises:
        ValueError: an unknown or repeated backbone, frames that are not square, weights for other networks than the
            model has, an unknown `fusion`, or GRU layers without units.
        FileNotFoundError: a weights file that is not there.
        har_tf.models.backbones.WeightsUnavailable: "imagenet" could not be downloaded.

    Example:
        >>> model = fusion_gru(num_classes=51, backbone_weights={"GoogLeNet": "googlenet_bvlc.npz",
        ...                                                      "InceptionResNetV2": "imagenet"})
    """
    names = _checked_names(backbones)
    _check_head(fusion, gru_units)
    clip, features = _streams(input_shape, names, backbone_weights, backbone_trainable, frame_sizes)
    probabilities = _classify(features, num_classes, fusion, gru_units, bidirectional, dropout)
    return with_weights(keras.Model(clip, probabilities, name="fusion_gru"), weights)


def fusion_gru_head(
    num_frames,
    features,
    num_classes=101,
    fusion="concatenate",
    gru_units=(1000, 1000),
    bidirectional=False,
    dropout=0.0,
):
    """What stands behind the features in `fusion_gru`, with the same layer names: it trains on stored features.

    Args:
        num_frames: frames of a clip, T.
        features: backbone -> channels C of its features, such as {"GoogLeNet": 1024, "InceptionResNetV2": 1536}.
        num_classes: as in `fusion_gru`, like what follows.
        fusion: "concatenate", "sum" or "score_average".
        gru_units: units of the GRU layers.
        bidirectional: whether they run in both directions.
        dropout: rate before the last layer.

    Returns:
        A `keras.Model` from a dict of (B, T, C) features, one a backbone under `features_<backbone>`, to
        (B, num_classes) probabilities.

    Raises:
        ValueError: no features, an unknown `fusion`, or GRU layers without units.

    Example:
        >>> head = fusion_gru_head(10, {"GoogLeNet": 1024}, num_classes=10)
        >>> head.predict({"features_GoogLeNet": np.zeros((1, 10, 1024), "float32")}).shape
        (1, 10)
    """
    if not features:
        raise ValueError(f"A head needs the features of at least one backbone. Received: features={features}")
    _check_head(fusion, gru_units)
    inputs = {name: keras.Input((num_frames, size), name=f"features_{name}") for name, size in features.items()}
    probabilities = _classify(inputs, num_classes, fusion, gru_units, bidirectional, dropout)
    return keras.Model({f"features_{name}": x for name, x in inputs.items()}, probabilities, name="fusion_gru_head")


def end_to_end(head, input_shape, backbone_weights, backbone_trainable=False, frame_sizes=None):
    """The model from raw frames to classes that gives the answers of a head on the features of its networks.

    Args:
        head: a model of `fusion_gru_head`, or any other whose inputs are called `features_<backbone>`. It is copied.
        input_shape: (time, height, width, channels) of a clip, as in `fusion_gru`.
        backbone_weights: as in `fusion_gru`: what the head's features were computed with.
        backbone_trainable: False freezes the networks.
        frame_sizes: as in `fusion_gru`.

    Returns:
        A `keras.Model` as `fusion_gru` builds it, with the weights of networks and head.

    Raises:
        ValueError: inputs with other names, another number of frames, or features of another size than the networks
            give.
    """
    inputs = {x.name: x for x in head.inputs}
    unknown = [name for name in inputs if not name.startswith("features_")]
    if unknown:
        raise ValueError(f"Inputs of a head are called features_<backbone>. Received: inputs {list(inputs)}")
    names = _checked_names([name.removeprefix("features_") for name in inputs])
    clip, features = _streams(input_shape, names, backbone_weights, backbone_trainable, frame_sizes)
    for name in names:
        wanted, given = tuple(inputs[f"features_{name}"].shape[1:]), tuple(features[name].shape[1:])
        if wanted != given:
            raise ValueError(
                f"The head was made for features (time, channels) of {name} of {wanted}. Received: clips of "
                f"{tuple(input_shape)}, which give {given}"
            )
    copies = {}

    # The head's own layers, called on these features, would stand in two graphs at once. `keras.models.clone_model` has
    # the same loop, but ends the graph at these features, which makes the model one in another and hides its layers.
    def copy_of(operation):
        if operation.name not in copies:
            copies[operation.name] = type(operation).from_config(operation.get_config())
        return copies[operation.name]

    tensors = {f"features_{name}": x for name, x in features.items()}
    probabilities = head._run_through_graph(
        tensors if isinstance(head.input, Mapping) else [tensors[name] for name in inputs], copy_of
    )
    for layer in head.layers:
        if layer.weights:
            copies[layer.name].set_weights(layer.get_weights())
    return keras.Model(clip, probabilities, name="fusion_gru")


def frame_encoder(backbone, size, weights=None, trainable=False, frame_size=None):
    """The network that a stream of `fusion_gru` applies to single frames.

    Args:
        backbone: a key of `har_tf.models.backbones.BACKBONES`.
        size: side of the frames in pixels.
        weights: None, "imagenet" or the path of a published file.
        trainable: False freezes the network.
        frame_size: side that the frames are resized to; None: what the network was trained on.

    Returns:
        A `keras.Model` from uint8 frames (B, size, size, 3) to features (B, C).

    Raises:
        ValueError: unknown backbone, or a file that does not fit it.
        FileNotFoundError: a weights file that is not there.
    """
    frames = keras.Input((size, size, 3), dtype="uint8", name="frames")
    side = frame_size or frame_size_of(backbone)
    return keras.Model(frames, _pooled(frames, backbone, weights, trainable, side), name=f"frame_{backbone.lower()}")


def frame_size_of(backbone):
    """Side in pixels of the square frames that a network was trained on."""
    backbones.find(backbone)
    return FRAME_SIZES.get(backbone, 224)


def stream_taps(model):
    """The last feature map of every stream of a model that `fusion_gru` or `end_to_end` has built, loaded ones too.

    Returns:
        backbone -> name of the layer, for `har_tf.explain.gradcam(tap=...)`; empty for any other model.

    Example:
        >>> stream_taps(fusion_gru(backbones=("MobileNet",)))
        {'MobileNet': 'MobileNet_conv_pw_13_relu'}
    """
    makers = {id(operation.output): operation.name for operation in model.operations}
    pools = {
        layer.name.removeprefix("pool_"): layer
        for layer in sorted(model.layers, key=lambda layer: layer.name)
        if isinstance(layer, layers.GlobalAveragePooling2D)
    }
    return {name: makers[id(pool.input)] for name, pool in pools.items() if name in backbones.BACKBONES}


def fine_taps(model):
    """The feature map of every stream that shows where it looked: the last, or of small frames the last fine one.

    The fewer cells a map has, the more of the frame each of them covers, whatever the network saw; a map with four a
    side is fine. Model and result as in `stream_taps`.
    """
    found, chosen = taps(model), {}
    for name, last in stream_taps(model).items():
        stream = [tap for tap in found if tap.name.startswith(f"{name}_")]
        fine = [tap.name for tap in stream if min(tap.shape[1:3]) >= 4]
        names = [tap.name for tap in stream if tap.name == last] if last in fine or not fine else fine
        if names:
            chosen[name] = names[-1]
    return chosen


def _streams(input_shape, names, backbone_weights, trainable, frame_sizes):
    """The clip and, by backbone, its features (B, T, C)."""
    clip, frames = clip_and_frames(input_shape)  # (B·T, H, W, 3)
    if frames.shape[1] != frames.shape[2]:
        raise ValueError(
            "The networks take square frames, such as prepare(size=(299, 299), fit='crop') cuts out of the middle. "
            f"Received: input_shape={tuple(input_shape)}"
        )
    given = _checked_weights(names, backbone_weights)
    frame_sizes = frame_sizes or {}
    if set(frame_sizes) - set(names):
        raise ValueError(f"The networks are {', '.join(names)}. Received: {frame_sizes=}")
    features = {}
    for name in names:
        x = _pooled(frames, name, given[name], trainable, frame_sizes.get(name) or frame_size_of(name))
        x = ops.reshape(x, (-1, clip.shape[1], x.shape[-1]))  # (B, T, C)
        features[name] = layers.Identity(name=f"features_{name}")(x)
    return clip, features


def _pooled(frames, name, weights, trainable, side):
    """Features (B·T, C) of frames (B·T, H, W, 3)."""
    if frames.shape[1:3] != (side, side):
        # Of integers Keras' layer makes integers when it runs eagerly, and not when it is compiled.
        frames = ops.cast(frames, "float32")
        resize = layers.Resizing(side, side, antialias=True, dtype="float32", name=f"{name}_resize")
        frames = as_product(resize)(frames)
    x = backbones.encode(frames, name, weights, trainable, prefix=f"{name}_")  # (B·T, h, w, C)
    return layers.GlobalAveragePooling2D(name=f"pool_{name}")(x)


def _classify(features, num_classes, fusion, gru_units, bidirectional, dropout):
    """Probabilities (B, num_classes) of features (B, T, C), by backbone."""
    if fusion == "score_average" and len(features) > 1:
        scores = []
        for name, x in features.items():
            x = _over_time(x, gru_units, bidirectional, dropout, f"_{name}")
            logits = layers.Dense(num_classes, dtype="float32", name=f"logits_{name}")(x)
            scores.append(ops.log_softmax(logits))
        # softmax(log(mean p)) is mean p. So the model ends, as others do, with a softmax of what counts as its logits;
        # the logarithm is taken in a way that a probability of 0 does not spoil.
        return layers.Softmax(dtype="float32", name="predictions")(ops.logsumexp(ops.stack(scores, axis=1), axis=1))
    x = _fused(features, fusion)
    x = _over_time(x, gru_units, bidirectional, dropout)
    return classifier(x, num_classes)


def _fused(features, fusion):
    """One (B, T, C) of the features of all streams."""
    if len(features) == 1:
        return next(iter(features.values()))
    if fusion == "concatenate":
        return layers.Concatenate(name="concatenate")(list(features.values()))
    narrowest = min(x.shape[-1] for x in features.values())
    alike = [
        x if x.shape[-1] == narrowest else layers.Dense(narrowest, use_bias=False, name=f"project_{name}")(x)
        for name, x in features.items()
    ]
    return layers.Add(name="sum")(alike)


def _over_time(x, gru_units, bidirectional, dropout, suffix=""):
    """Equations (1) to (4), once a layer: (B, T, C) -> (B, units)."""
    for i, units in enumerate(gru_units, start=1):
        # Unrolled also where it was loaded and is Keras' own loop again; cuDNN has no GRU of this form.
        options = {"return_sequences": i < len(gru_units), "reset_after": False, "unroll": True}
        gru = layers.GRU(units, name=None if bidirectional else f"gru{i}{suffix}", **options)
        directions = [gru]
        if bidirectional:
            gru = layers.Bidirectional(gru, name=f"gru{i}{suffix}")
            directions = [gru.forward_layer, gru.backward_layer]
        for direction in directions:
            _project_inputs_at_once(direction)
        x = gru(x)
    return layers.Dropout(dropout, name=f"dropout{suffix}")(x) if dropout else x


def _project_inputs_at_once(gru):
    """Has a GRU layer multiply the inputs of all steps by their matrix at once.

    The equations are the same. Keras multiplies step by step, and in training adds up one gradient of the whole matrix
    a step: a training step of two layers of 1000 units takes 2.5 times as long that way. Only this one object is
    changed: what is saved is Keras' own layer, and loads as that.
    """

    def inner_loop(sequences, initial_state, mask=None, training=False):
        if mask is not None:  # Keras' own loop knows what to do with it
            return type(gru).inner_loop(gru, sequences, initial_state, mask, training)
        units, cell = gru.units, gru.cell
        projected = ops.matmul(sequences, cell.kernel) + cell.bias  # (B, T, 3 units): z, r, o
        # Cut once: each cut would have a gradient of the whole matrix.
        of_gates, of_candidate = ops.split(ops.convert_to_tensor(cell.recurrent_kernel), [2 * units], axis=1)
        (state,) = initial_state
        states = []
        for step in ops.unstack(projected[:, ::-1] if gru.go_backwards else projected, axis=1):
            gates = ops.sigmoid(step[:, : 2 * units] + ops.matmul(state, of_gates))
            z, r = ops.split(gates, 2, axis=-1)
            candidate = ops.tanh(step[:, 2 * units :] + ops.matmul(r * state, of_candidate))
            state = z * state + (1 - z) * candidate
            states.append(state)
        return state, ops.stack(states, axis=1), [state]

    gru.inner_loop = inner_loop


def _checked_names(names):
    names = tuple(names)
    for name in names:
        backbones.find(name)
    if not names or len(set(names)) < len(names):
        raise ValueError(f"At least one backbone, each of them once. Received: backbones={names}")
    return names


def _checked_weights(names: Sequence[str], given) -> Mapping[str, Weights]:
    """What each network starts from."""
    if given is None or given == "imagenet":
        return dict.fromkeys(names, given)
    if not isinstance(given, Mapping) or set(given) != set(names):
        found = f"weights of {', '.join(given)}" if isinstance(given, Mapping) else repr(given)
        raise ValueError(f"Weights are needed of {', '.join(names)}, by name. Received: {found}")
    for name, source in given.items():  # before any of them is built
        if source not in (None, "imagenet") and not Path(source).is_file():
            raise FileNotFoundError(f"{source}: no such weights file (of {name})")
    return given


def _check_head(fusion, gru_units):
    if fusion not in FUSIONS:
        raise ValueError(f"Features are fused by {', '.join(map(repr, FUSIONS))}. Received: {fusion=}")
    if not gru_units or any(not isinstance(units, int) or units < 1 for units in gru_units):
        raise ValueError(f"At least one GRU layer, each with at least one unit. Received: {gru_units=}")
