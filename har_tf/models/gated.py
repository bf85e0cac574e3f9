"""Gated heads: a classifier on each of several feature maps of a network, added up."""

from numbers import Integral

import keras
from keras import layers, ops

from har_tf.models.flatten import flat
from har_tf.models.logits import logits_of
from har_tf.models.taps import Tap, find_several, symbolic


def gated(model, taps, num_classes=None, t=2, classifier=True, pool_channels=False):
    """The given model with a gate on each of the given taps.

    Source: the 3DCAM paper, section 3.9 and Figure 9. A gate is: ReLU, the mean over all places of a frame, the mean
    over each t frames, a fully connected layer. The logits of all gates are added up. For the 3D ResNeXt the paper
    gates every stage (Table 9), for I3D "mixed 3d, mixed 4f, and mixed 5c" or some of them (Table 10); there is no
    mixed 3d in Table 2, and `mixed_3c` is the last of its size. t is 2.

    The paper leaves open, and this function takes:

    - `classifier`: whether the network's own classifier is one of the summands. The tables call the gain "incremental"
      to a network that has one. With it, the gates start from zero, so that the gated network begins with the answers
      of the given one; without it, the layers that only the classifier needed are left out.
    - `pool_channels`: the text says that B x T x W x H x C is pooled into B x T/t x 1 x 1 x 1, which would leave the
      fully connected layer no more than T/t numbers. Here channels stay apart unless this is set.
    - Frames that are no multiple of t, or fewer than t: there are ceil(T / t) means, and the first and the last are
      taken over the frames that are left to them. No frame is dropped, and no padding counts.

    Args:
        model: a functional model with taps, see `har_tf.models.taps`: clips to probabilities or, without `classifier`,
            to anything. The gated model has the same layers, not copies: what trains in one is trained in the other.
            Published weights are imported into the model before it is gated.
        taps: names of the maps to gate, or taps of `har_tf.models.taps`.
        num_classes: size of the last layer; None: that of the model.
        t: frames of the map that are pooled into one, the factor t of the paper.
        classifier: see above.
        pool_channels: see above.

    Returns:
        A flat `keras.Model` to (B, num_classes) probabilities, with the layer `gate_<tap>` for each tap, and
        `predictions` at the end.

    Raises:
        ValueError: an unknown tap (the message lists those there are), none, one that is named twice or leaves its
            number of frames open, t that is no whole number of at least 1, or, where `classifier` asks for it, a model
            whose output is no softmax over `num_classes` or that has gates already.

    Example:
        >>> model = gated(i3d(num_classes=101), ["mixed_4f", "mixed_5c"])
    """
    chosen, model = find_several(model, taps), flat(model)
    if isinstance(t, bool) or not isinstance(t, Integral) or t < 1:
        raise ValueError(f"A whole number of frames, at least one, is pooled into one. Received: t={t}")
    if len(model.outputs) != 1:
        raise ValueError(f"Gates are added to a model with one output. Received: {len(model.outputs)} outputs")
    classes = model.outputs[0].shape[-1] if len(model.outputs[0].shape) == 2 else None
    num_classes = classes if num_classes is None else num_classes
    if num_classes is None:
        raise ValueError(f"{model.name} has no classes of its own. Received: num_classes=None")
    summands = []
    if classifier:
        if num_classes != classes:
            raise ValueError(
                f"The classifier of {model.name} can only be added to gates of as many classes; classifier=False "
                f"leaves it out. Received: num_classes={num_classes}, a model whose output is {model.outputs[0].shape}"
            )
        gates = {"gate_sum", *map(_name, chosen)} & {layer.name for layer in model.layers}
        if gates:
            raise ValueError(
                f"{model.name} has gates already; gate the model that it was made of, with all taps at once. "
                f"Received: a model with {', '.join(sorted(gates))}"
            )
        summands.append(_logits(model))
    tensors = {tap.name: tensor for tap, tensor in symbolic(model)}
    start = "zeros" if classifier else "glorot_uniform"
    summands += [_gate(tap, tensors[tap.name], num_classes, t, pool_channels, start) for tap in chosen]
    logits = layers.Add(dtype="float32", name="gate_sum")(summands) if len(summands) > 1 else summands[0]
    probabilities = layers.Softmax(dtype="float32", name="predictions")(logits)
    return keras.Model(model.inputs[0], probabilities, name=f"gated_{model.name}")


def _name(tap: Tap) -> str:
    return f"gate_{tap.name.replace(':', '_').replace('/', '_')}"


def _gate(tap: Tap, x, num_classes, t, pool_channels, start):
    """The logits of one gate, (B, num_classes)."""
    name = _name(tap)
    frames, height, width, channels = tap.shape
    if frames is None:
        raise ValueError(
            f"A gate needs a fixed number of frames. Received: tap {tap.name!r} of (t, h, w, c) = {tap.shape}"
        )
    # This is ReLU, as an operation that `taps` does not list: the copy in a gate is no stage of the network.
    x = ops.threshold(x, 0, 0)
    if len(x.shape) == 3:  # tokens (B, t·h·w, c)
        x = ops.mean(ops.reshape(x, (-1, frames, height * width, channels)), axis=2)
    else:  # (B, t, h, w, c), or (B·t, h, w, c)
        x = ops.mean(x, axis=(-3, -2))
    x = ops.reshape(x, (-1, frames, channels))
    x = layers.AveragePooling1D(min(t, frames), padding="same", name=f"{name}_temporal_pool")(x)  # (B, T / t, c)
    if pool_channels:
        x = ops.mean(x, axis=-1, keepdims=True)
    x = layers.Flatten(name=f"{name}_flatten")(x)
    return layers.Dense(num_classes, kernel_initializer=start, dtype="float32", name=name)(x)


def _logits(model):
    """What the softmax at the end of a model is taken of, on the model's own weights."""
    found = logits_of(model)
    if found.activation != "softmax" or found.averaged or len(found.layers) > 1:
        last = model.outputs[0]._keras_history.operation
        raise ValueError(
            f"{model.name} does not end with a softmax, whose logits the gates could be added to; classifier=False "
            f"leaves its end out. Received: a last layer {last.name!r}, a {type(last).__name__}"
        )
    (tensor,), (layer,) = found.tensors, found.layers
    if not isinstance(layer, layers.Dense):
        return tensor
    linear = layers.Dense.from_config(layer.get_config() | {"activation": "linear", "name": "model_logits"})
    # The same two variables, so that both models learn.
    linear._kernel, linear.bias, linear.built = layer._kernel, layer.bias, True
    return linear(tensor)
