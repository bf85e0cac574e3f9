"""What is measured against PyTorch is the same network: answers, and the loss and gradients of a training step."""

import keras
import numpy as np
import pytest
from checks import random_clip

torch = pytest.importorskip("torch")


def test_cnn_gru_in_pytorch_is_ours():
    from benchmarks.train_step import pair

    clips = random_clip(3, 4, 32, 48)
    model, module, (mean, std) = pair("CNN-GRU", clips.shape[1:])
    for norm in module.norms:
        torch.nn.init.uniform_(norm.running_mean, -0.2, 0.2)
    from benchmarks.networks_torch import fill_cnn_gru

    fill_cnn_gru(model, module)
    labels = np.array([1, 0, 7])

    def logits(module):
        return module((torch.from_numpy(clips).permute(0, 4, 1, 2, 3).float() - mean) / std)

    with torch.inference_mode():
        expected = torch.softmax(logits(module.eval()), 1).numpy()
    np.testing.assert_allclose(model.predict_on_batch(clips), expected, atol=1e-5)
    model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
    loss = torch.nn.functional.cross_entropy(logits(module.train()), torch.from_numpy(labels))
    loss.backward()
    before = model.get_layer("conv3d").kernel.numpy()
    assert model.train_on_batch(clips, labels) == pytest.approx(loss.item(), abs=1e-5)
    moved = (before - model.get_layer("conv3d").kernel.numpy()) / 0.1
    np.testing.assert_allclose(moved, module.conv3d.weight.grad.numpy().transpose(2, 3, 4, 1, 0), atol=1e-5)
