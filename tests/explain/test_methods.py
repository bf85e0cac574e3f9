import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from har_tf import explain
from har_tf.explain.methods import METHODS, Method, chosen, set_options


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
    with pytest.raises(AttributeError, match="har_tf.explain' has no attribute 'no_such_cam'"):
        getattr(explain, "no_such_cam")  # noqa: B009


@pytest.mark.parametrize("method", METHODS.values(), ids=str)
def test_a_line_of_the_list_says_what_its_function_takes(method):
    taken = inspect.signature(getattr(explain, method.function.partition(".")[2])).parameters
    common = {"model", "clips", "class_index", "normalize", "batch_size"}
    assert common <= taken.keys()
    assert {name: taken[name].default for name in method.options} == method.options
    others = {"tap", "taps"} if method.needs else {"tap"} if method.takes_tap else set()
    others |= {"join", "align"} if method.sums else set()
    others |= {"counterfactual"} if method.counterfactual else set()
    assert taken.keys() <= common | others | method.options.keys()
    if not method.needs:  # which the frame gives it by name
        assert taken.keys() == common | others | method.options.keys()
    assert method.linear or len(method.needs) == 1


def test_every_method_has_its_row_in_the_docs():
    text = (Path(__file__).parents[2] / "docs" / "methods.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z0-9+-]+)` \|", text, re.MULTILINE)
    assert rows == list(METHODS)
    for method in METHODS.values():
        row = next(line for line in text.splitlines() if line.startswith(f"| `{method.name}` |"))
        assert [f"`{name}={value}`" in row for name, value in method.options.items()] == [True] * len(method.options)


def test_options_go_to_the_methods_that_have_them():
    several = chosen(["gradcam", "3dcam", "sum-gradcam"])
    found = set_options(several, {"sum-gradcam.pool": "spatiotemporal", "pool": "spatial", "channels": "max"})
    assert found == {
        "gradcam": {"pool": "spatial"}, "3dcam": {"channels": "max"}, "sum-gradcam": {"pool": "spatiotemporal"},
    }  # fmt: skip
    assert set_options(several, None) == {"gradcam": {}, "3dcam": {}, "sum-gradcam": {}}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"steps": 2},
            "options of these methods are gradcam.pool=spatiotemporal, 3dcam.channels=sum. Received: steps=2",
        ),
        ({"3dcam.pool": "spatial"}, "Received: 3dcam.pool=spatial"),
        ({"pool": ""}, "pool is one of 'spatial', 'spatiotemporal'. Received: pool=''"),
        ({"pool": "both"}, "pool is one of 'spatial', 'spatiotemporal'. Received: pool='both'"),
    ],
)
def test_other_options_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        set_options(chosen(["gradcam", "3dcam"]), given)


@pytest.mark.parametrize(
    ("default", "given", "value"),
    [
        (20, "64", 64), (20, 64.0, 64), (0.5, "0.25", 0.25), (0.5, 1, 1.0), (True, "false", False), (True, 0, False),
        ((4, 7, 7), "2x3x3", (2, 3, 3)), ((4, 7, 7), [2, 3, 3], (2, 3, 3)), (None, "1x32x32", (1, 32, 32)),
        ((0.1, 0.5), "0.2x0.4", (0.2, 0.4)), ((0.1, 0.5), [0.3], (0.3,)), ((0.1,), "0.2xa", None),
        ("mean", "blur", "blur"), ("mean", 0, 0),
        (20, "6.5", None), (20, 6.5, None), (20, True, None), (0.5, "half", None), (True, "maybe", None),
        ((4, 7, 7), "2x3xa", None), ((4, 7, 7), 2, None), ((4, 7, 7), (2.5, 3, 3), None),
    ],
)  # fmt: skip
def test_a_value_is_of_the_kind_of_its_default_also_as_text(default, given, value):
    method = Method("some", "Some", "some.some", options={"amount": default})
    if value is None:
        with pytest.raises(ValueError, match="^amount is .*Received: amount="):
            set_options([method], {"amount": given})
    else:
        found = set_options([method], {"some.amount": given})["some"]["amount"]
        assert found == value and type(found) is type(value)


@pytest.mark.parametrize("methods", [["cam"], [], ["3dcam", "3dcam"], "3dcam"])
def test_other_methods_are_refused(methods):
    assert [method.name for method in chosen(["3dcam", "gradcam"])] == ["3dcam", "gradcam"]
    with pytest.raises(
        ValueError, match=re.escape(f"methods are some of {', '.join(METHODS)}, each once. Received: methods=")
    ):
        chosen(methods)
