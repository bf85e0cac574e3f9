"""Video Swin's weights as SwinTransformer/Video-Swin-Transformer and as torchvision publish them: one network."""

import math
import re
from collections.abc import Collection, Mapping

import keras

from har_tf.models.weights.form import Form, Slot, blocks_of, same, torch_layer
from har_tf.models.weights.torch_file import Tensor
from har_tf.models.window_attention import WindowAttention

# Size: (channels of the first stage, blocks of the four stages, heads of the four, drop path rate).
SIZES = {
    "tiny": (96, (2, 2, 6, 2), (3, 6, 12, 24), 0.1),
    "small": (96, (2, 2, 18, 2), (3, 6, 12, 24), 0.1),
    "base": (128, (2, 2, 18, 2), (4, 8, 16, 32), 0.3),
}
_NAMES = {"patch_embed_proj": "patch_embed.proj", "patch_embed": "patch_embed.norm", "predictions": "cls_head.fc_cls"}
_BUFFER = re.compile(r"(.*\.attn\.)relative_position_index|((?:layers|features)\..*\.)attn_mask")
_TABLE = "layers.0.blocks.0.attn.relative_position_bias_table"
_INDEX = "layers.0.blocks.0.attn.relative_position_index"


class _MMAction(Form):
    """`backbone.patch_embed.proj.weight`, `backbone.layers.0.blocks.0.attn.qkv.weight`, ..., `cls_head.fc_cls.weight`.

    A script may have left out `backbone.`. MMAction2 since its version 1 calls the last LayerNorm `norm3` for `norm`.
    The indices and masks of the windows stand in the file as buffers, which follow from the window's size.
    """

    title = "video_swin()"
    network, form, front = "layer1_0_attn", re.escape(_TABLE), r"(backbone\.)?"
    parts = ("cls_head.",)
    block, stages = r"layers\.([0-3])\.blocks\.(\d+)\.", "0123"  # of a tensor's name; the numbers of the stages in it

    def name(self, name: str) -> str:
        return re.sub(r"^norm3\.", "norm.", super().name(name))

    def spelt(self, name: str) -> str:
        """What this form calls the tensor of one of the authors' names."""
        return name

    def of_layer(self, layer: keras.Layer, ending: str | None) -> dict[str, Slot]:
        name = self.spelt(_published(layer.name))
        if isinstance(layer, WindowAttention):
            table = {f"{name}.relative_position_bias_table": same(layer.relative_position_bias_table)}
            return table | torch_layer(layer.qkv, f"{name}.qkv") | torch_layer(layer.proj, f"{name}.proj")
        if isinstance(layer, keras.layers.LayerNormalization):
            return {f"{name}.weight": same(layer.gamma), f"{name}.bias": same(layer.beta)}
        return torch_layer(layer, name)

    def refuses(self, model: keras.Model, shapes: Mapping[str, tuple[int, ...]]) -> str | None:
        window = model.get_layer("layer1_0_attn").window
        places = shapes.get(self.spelt(_INDEX), (math.prod(window),))[0]
        if places != math.prod(window):
            return f"its windows have {places} places. Received: a model of window={window}"
        return None

    def leaves_out(self, name: str, slots: Collection[str]) -> bool:
        buffer = _BUFFER.fullmatch(name)
        if buffer:
            attention = buffer[1] or f"{buffer[2]}attn."
            return f"{attention}qkv.weight" in slots
        return super().leaves_out(name, slots)


class _Torchvision(_MMAction):
    """`patch_embed.proj.weight`, `features.0.0.attn.qkv.weight`, `features.1.reduction.weight`, ..., `head.weight`.

    The stages and what lies between them are numbered in one row, and the layers of a perceptron by their places. The
    network is the authors' in every step, with the same mean and deviation of the channels.
    """

    form, front = r"features\.0\.0\.attn\.relative_position_bias_table", ""
    parts = ("head.",)
    block, stages = r"features\.([0246])\.(\d+)\.", "0246"

    def spelt(self, name: str) -> str:
        name = re.sub(r"^layers\.(\d)\.blocks", lambda found: f"features.{2 * int(found[1])}", name)
        name = re.sub(r"^layers\.(\d)\.downsample", lambda found: f"features.{2 * int(found[1]) + 1}", name)
        return name.replace("mlp.fc1", "mlp.0").replace("mlp.fc2", "mlp.3").replace("cls_head.fc_cls", "head")


MMACTION, TORCHVISION = _MMAction(), _Torchvision()


def _published(layer: str) -> str:
    """`layer1_0_attn` is layers.0.blocks.0.attn, `layer1_downsample_norm` is layers.0.downsample.norm."""
    if layer in _NAMES:
        return _NAMES[layer]
    name = re.sub(r"^layer(\d)_", lambda found: f"layers.{int(found[1]) - 1}.", layer)
    name = re.sub(r"\.(\d+)_", r".blocks.\1.", name).replace("downsample_", "downsample.")
    return re.sub(r"\.(fc[12])$", r".mlp.\1", name)


def options(tensors: Mapping[str, Tensor]) -> dict:
    """The arguments of `video_swin` for the network whose tensors, by their names in a file, these are."""
    holding = (form for form in (MMACTION, TORCHVISION) if form.holds(list(map(form.name, tensors))))
    form = next(holding, MMACTION)
    shapes = {form.name(name): tensor.shape for name, tensor in tensors.items()}
    kernel, top, *tables = (
        shapes.get(form.spelt(name), ())
        for name in (
            "patch_embed.proj.weight",
            "cls_head.fc_cls.weight",
            *(_TABLE.replace("layers.0", f"layers.{stage}") for stage in range(4)),
        )
    )
    if len(kernel) != 5 or len(top) != 2 or any(len(table) != 2 for table in tables):
        raise ValueError(f"no weights of a Video Swin among {', '.join(list(tensors)[:10])}")
    network = (kernel[0], blocks_of(shapes, form.block, form.stages), tuple(table[1] for table in tables))
    sizes = [size for size, usual in SIZES.items() if usual[:3] == network]
    return {
        **({"size": sizes[0]} if sizes else {}),
        **dict(zip(("embed_dim", "depths", "num_heads"), network, strict=True)),
        "window": _window(tables[0][0], shapes.get(form.spelt(_INDEX))),
        "patch": tuple(kernel[2:]),
        "num_classes": top[0],
    }


def _window(rows: int, index: tuple[int, ...] | None) -> tuple[int, int, int]:
    """(t, n, n), of which the bias table has (2 t - 1) · (2 n - 1)² rows and the index, if there is one, t · n · n."""
    sides = [side for side in range(1, math.isqrt(rows) // 2 + 2) if rows % (2 * side - 1) ** 2 == 0]
    fitting = [((rows // (2 * side - 1) ** 2 + 1) // 2, side, side) for side in sides]
    if index is not None:
        fitting = [window for window in fitting if math.prod(window) == index[0]]
    fitting = [window for window in fitting if window[1] == 7] or fitting  # all published ones
    if len(fitting) != 1:
        raise ValueError(f"a bias table of {rows} rows, which leaves the window open: {fitting or 'none fits'}")
    return fitting[0]
