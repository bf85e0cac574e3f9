"""Training over several replicas: a batch is dealt out, and what comes out is, but for rounding, what one device gives.

`Model.fit` clips the gradient of each replica by itself, weighs a smaller share as much as a larger one, and fails over
several machines. Here gradients are summed before they are clipped, losses and accuracies are sums over clips, and
BatchNorm takes its statistics of the whole batch.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import keras
import tensorflow as tf

from har_tf.training_recipe import TrainingRecipe


def fit(
    model: keras.Model,
    recipe: TrainingRecipe,
    train: tf.data.Dataset,
    validation: tf.data.Dataset | None,
    epochs: range,
    steps: int,
    callbacks: Sequence[keras.callbacks.Callback],
    verbose: int,
) -> None:
    """Trains a compiled model, built in the scope of its strategy, as `Model.fit` does with one device.

    Args:
        model: maps inputs to (B, C) probabilities.
        recipe: how; the optimiser is that of `model`, which clips to `clipnorm` over the number of replicas.
        train: batches of (inputs, (B, C) labels, (B,) weights) of all epochs; B is a multiple of the replicas.
        validation: the same, of one pass.
        epochs: numbers of the epochs to train.
        steps: batches an epoch.
        callbacks, verbose: as in `Model.fit`; logs hold loss, accuracy, val_loss and val_accuracy.
    """
    strategy = model.distribute_strategy
    callbacks = keras.callbacks.CallbackList(
        callbacks, add_progbar=verbose != 0, verbose=verbose, epochs=epochs.stop, steps=steps, model=model
    )
    with strategy.scope(), _synchronized(model):
        train_step, test_step = _steps(model, recipe, strategy)
        together, several = _together(strategy), _several(train_step)
        batches = iter(strategy.experimental_distribute_dataset(train))
        held_out = None if validation is None else strategy.experimental_distribute_dataset(validation)
        callbacks.on_train_begin()
        for epoch in epochs:
            callbacks.on_epoch_begin(epoch)
            sums = 0.0
            for step in range(0, steps, together):
                count = min(together, steps - step)
                callbacks.on_train_batch_begin(step)
                sums += train_step(next(batches)) if together == 1 else several(batches, tf.constant(count))
                callbacks.on_train_batch_end(step + count - 1, _logs(sums))
            logs = _logs(sums)
            if held_out is not None:
                logs |= {f"val_{name}": value for name, value in _logs(sum(map(test_step, held_out))).items()}
            callbacks.on_epoch_end(epoch, {name: float(value) for name, value in logs.items()})
        callbacks.on_train_end()


def _logs(sums: tf.Tensor) -> dict[str, tf.Tensor]:
    loss, right, clips = tf.unstack(sums)
    return {"loss": loss / clips, "accuracy": right / clips}


def _steps(model: keras.Model, recipe: TrainingRecipe, strategy: tf.distribute.Strategy):
    """(trains on a batch, measures one): each a function of a dealt batch to the sums (loss, right answers, clips)."""
    entropy = keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing, reduction=None)
    optimizer, replicas = model.optimizer, strategy.num_replicas_in_sync
    # Where gradients are clipped, or looked through for what is no number, they have to be those of the whole batch.
    summed_first = recipe.clipnorm is not None or isinstance(optimizer, keras.optimizers.LossScaleOptimizer)

    def measured(inputs, labels, weights, training):
        weights = tf.cast(weights > 0, tf.float32)
        answers = model(inputs, training=training)
        losses = weights * tf.cast(entropy(labels, answers), tf.float32)
        right = tf.cast(tf.argmax(labels, 1) == tf.argmax(answers, 1), tf.float32)
        clips = tf.distribute.get_replica_context().all_reduce("SUM", tf.reduce_sum(weights))
        # The mean over the clips of all replicas, of which this one has its part.
        loss = tf.reduce_sum(losses) / clips + sum(model.losses, start=0.0) / replicas
        return loss, tf.stack([loss * clips, tf.reduce_sum(weights * right), tf.reduce_sum(weights)])

    def learn(inputs, labels, weights):
        variables = model.trainable_variables
        with tf.GradientTape() as tape:
            loss, sums = measured(inputs, labels, weights, True)
            scaled = optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, variables)
        if summed_first:
            known = [gradient is not None for gradient in gradients]
            mean = iter(tf.distribute.get_replica_context().all_reduce("MEAN", [g for g in gradients if g is not None]))
            gradients = [next(mean) if there else None for there in known]
        optimizer.apply(gradients, variables)  # which sums them over the replicas
        return sums

    def over_replicas(step):
        @tf.function(autograph=False)
        def run(batch):
            return strategy.reduce("SUM", strategy.run(step, args=batch), axis=None)

        return run

    return over_replicas(learn), over_replicas(lambda *batch: measured(*batch, False)[1])


def _together(strategy: tf.distribute.Strategy) -> int:
    """How many steps are taken in one call; between two calls a TPU waits for this process."""
    return 8 if isinstance(strategy, tf.distribute.TPUStrategy) else 1


def _several(step):
    """A function of an iterator of dealt batches and a number: takes so many steps, and adds up what they give."""

    @tf.function(autograph=False)
    def run(batches, count):
        def one(done, sums):
            return done + 1, sums + step(next(batches))

        return tf.while_loop(lambda done, _: done < count, one, (0, tf.zeros(3)))[1]

    return run


@contextmanager
def _synchronized(model: keras.Model) -> Iterator[None]:
    """Within it BatchNorm takes its statistics of the clips of all replicas; it is not saved so."""
    norms = [
        layer
        for layer in model._flatten_layers(include_self=False)
        if isinstance(layer, keras.layers.BatchNormalization) and not layer.synchronized
    ]
    for layer in norms:
        layer.synchronized = True
    try:
        yield
    finally:
        for layer in norms:
            layer.synchronized = False
