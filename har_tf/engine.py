"""What Keras' engine, TensorFlow or JAX, computes on, for models too, which import no TensorFlow."""

import keras


def only_cpus() -> bool:
    """Whether there is neither GPU nor TPU."""
    return keras.distribution.list_devices()[0].startswith("cpu")  # CPUs are listed where there is nothing else
