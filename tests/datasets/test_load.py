import subprocess
import sys

import pytest

from har_tf import datasets
from har_tf.datasets import DatasetError


def test_listing_data_imports_no_tensorflow(miniature):
    code = (
        f"import sys; from har_tf import datasets; d = datasets.load({str(miniature)!r}); d.split('group')\n"
        "assert not {'tensorflow', 'keras', 'matplotlib', 'tensorflow_datasets'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_folder_has_no_root_and_no_options(miniature):
    with pytest.raises(DatasetError, match="root is for named data sets"):
        datasets.load(miniature, root=miniature)
    with pytest.raises(TypeError, match="a folder has no options clips"):
        datasets.load(miniature, clips=3)
    with pytest.raises(DatasetError, match=r"no_such_data: no such folder, and no data set .*figures, hmdb51.*ucf101"):
        datasets.load("no_such_data")
    with pytest.raises(DatasetError, match=r"figures brings its own split. Received: lists=somewhere"):
        datasets.load("figures", lists="somewhere")
