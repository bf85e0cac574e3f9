import subprocess
import sys

import pytest

from har_tf import explain
from har_tf.explain.methods import METHODS, chosen


def test_the_list_is_had_without_tensorflow():
    code = "import sys, har_tf.explain.methods; print(sorted({'tensorflow', 'keras', 'cv2', 'av'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_package_has_the_function_of_every_method_also_where_its_module_was_imported_first():
    code = (
        "import har_tf.explain.cam3d, har_tf.explain.overlay\n"
        "from har_tf import explain\n"
        "print([name for name in explain.__all__ if not callable(getattr(explain, name))])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
    assert {method.function.partition(".")[2] for method in METHODS.values()} <= set(explain.__all__)
    with pytest.raises(AttributeError, match="har_tf.explain' has no attribute 'hirescam'"):
        getattr(explain, "hirescam")  # noqa: B009


@pytest.mark.parametrize("methods", [["cam"], [], ["3dcam", "3dcam"], "3dcam"])
def test_other_methods_are_refused(methods):
    assert [method.name for method in chosen(["3dcam", "gradcam"])] == ["3dcam", "gradcam"]
    with pytest.raises(ValueError, match=f"methods are some of {', '.join(METHODS)}, each once. Received: methods="):
        chosen(methods)
