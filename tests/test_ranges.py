import subprocess
import sys
from types import SimpleNamespace

from har_tf import ranges

SETUP = """
[options]
python_requires = >=3.11
install_requires =
    importlib_resources
    keras >=3.14,<4
    numpy >=1.26.4
    opencv-python >=4.10.0.84

[options.extras_require]
dev =
    pytest >=8
"""


def of(monkeypatch, tmp_path, **there):
    """The ranges of SETUP on a machine with these distributions."""
    (tmp_path / "setup.cfg").write_text(SETUP)
    monkeypatch.setattr(ranges, "SETUP", tmp_path / "setup.cfg")
    versions = {name.replace("_", "-"): version for name, version in there.items()} | {"importlib_resources": "6.4"}
    monkeypatch.setattr(ranges, "installed", ({"python": "3.12.1"} | versions).get)


def test_what_is_there_but_too_old_or_too_new_is_lacking(monkeypatch, tmp_path):
    of(monkeypatch, tmp_path, keras="3.10.0", opencv_python="4.9.0.80")
    assert ranges.lacking() == {
        "keras<4,>=3.14": "3.10.0",
        "numpy>=1.26.4": None,
        "opencv-python>=4.10.0.84": "4.9.0.80",
    }
    of(monkeypatch, tmp_path, keras="4.0", numpy="2.4.0rc1", opencv_python_headless="4.12.0.88")
    assert ranges.lacking() == {"keras<4,>=3.14": "4.0"}
    of(monkeypatch, tmp_path, keras="3.14.0", numpy="1.26.4", opencv_python="4.10.0.84", python="3.10.2")
    assert ranges.lacking() == {"python>=3.11": "3.10.2"}


def test_installs_what_is_lacking_and_no_more(monkeypatch, tmp_path, capsys):
    asked = []
    monkeypatch.setattr(
        subprocess, "run", lambda command, check: asked.append(command) or SimpleNamespace(returncode=0)
    )
    of(monkeypatch, tmp_path, keras="3.10.0", opencv_python="4.10.0.84")
    assert ranges.main([]) == 1 and not asked
    assert ranges.main(["--install"]) == 0
    assert asked.pop()[3:] == ["install", "--quiet", "keras<4,>=3.14", "numpy>=1.26.4"]
    assert capsys.readouterr().out.splitlines()[0] == ("wanted: keras<4,>=3.14 (3.10.0), numpy>=1.26.4 (not installed)")
    of(monkeypatch, tmp_path, keras="3.14.0", numpy="2.0", opencv_python="5.0", python="3.10.2")
    assert ranges.main(["--install"]) == 1 and not asked, "no pip brings another Python"


def test_constraints_are_the_lower_bounds(monkeypatch, tmp_path):
    of(monkeypatch, tmp_path)
    assert ranges.lowest() == ["keras==3.14", "numpy==1.26.4", "opencv-python==4.10.0.84"]


def test_runs_where_nothing_is_installed_and_this_machine_has_what_is_asked_for():
    command = [sys.executable, "-S", ranges.__file__, "--lowest"]  # without site-packages
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert printed == ranges.lowest() and len(printed) > 15
    assert ranges.lacking() == {}
