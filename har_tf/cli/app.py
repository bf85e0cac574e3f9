"""Classify and explain videos, mine concepts, check and prepare data, report runs, import weights.

python -m har_tf predict VIDEO... --model model.keras
python -m har_tf explain VIDEO --model model.keras --method 3dcam,gradcam --out overlay.mp4
python -m har_tf trust model.keras VIDEOS
python -m har_tf report RUN
python -m har_tf concepts mine DIR --detector ssd.tflite --labels person "sports ball" --out concepts
python -m har_tf concepts review concepts
python -m har_tf check DIR --out manifest.parquet
python -m har_tf prepare DIR --out prepared
python -m har_tf preview figures --out figures.png
python -m har_tf import-weights googlenet bvlc_googlenet.caffemodel --out googlenet.keras
python -m har_tf import-weights i3d model.ckpt --class-names label_map.txt --out i3d.keras
python -m har_tf import-weights resnext3d resnext-101-kinetics.pth --out resnext3d.keras
python -m har_tf import-weights video_swin swin_tiny_patch244_window877_kinetics400_1k.pth --out video_swin.keras
"""

import sys
from pathlib import Path

from har_tf.cli.check import Check
from har_tf.cli.concepts import Concepts
from har_tf.cli.explain import Explain
from har_tf.cli.import_weights import ImportWeights
from har_tf.cli.predict import Predict
from har_tf.cli.prepare import Prepare
from har_tf.cli.preview import Preview
from har_tf.cli.report import Report
from har_tf.cli.trust import Trust
from har_tf.command import run

Command = Predict | Explain | Trust | Report | Concepts | Check | Prepare | Preview | ImportWeights


def main() -> None:
    """Parses the command line and runs its command; the exit code says how it ended, see `har_tf.command.run`."""
    prog = "har-tf" if Path(sys.argv[0]).name == "har-tf" else "python -m har_tf"
    run(lambda command: command.run(), Command, prog=prog, description=__doc__.partition("\n")[0])
