"""The versions that har_tf works with, which setup.cfg states, and what of them is lacking here.

    python har_tf/ranges.py             # what is lacking, or there in a version that does not do
    python har_tf/ranges.py --install   # installs that with pip
    python har_tf/ranges.py --lowest    # the lowest version of each range, as constraints for pip

It imports nothing of the package, so that it runs where little is installed: notebooks begin with it.
"""

import configparser
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

SETUP = Path(__file__).parents[1] / "setup.cfg"
# Other distributions of the same modules: pip would install a second one over it.
SAME = {
    "opencv-python": ("opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless"),
    "tensorflow": ("tensorflow-cpu", "tensorflow-tpu"),
}


def requirements() -> list[str]:
    """What setup.cfg asks for, Python first."""
    setup = configparser.ConfigParser()
    setup.read_string(SETUP.read_text(encoding="utf-8"))
    options = setup["options"]
    return [f"python {options['python_requires']}", *options["install_requires"].split("\n")[1:]]


def lowest() -> list[str]:
    """The lowest version of each range, as pip's constraints, such as "numpy==1.26.4"."""
    bounds = (re.match(r"([\w.-]+)\s*>=\s*([\w.]+)", line) for line in requirements()[1:])
    return [f"{bound[1]}=={bound[2]}" for bound in bounds if bound]


def lacking() -> dict[str, str | None]:
    """{requirement: the version that is there, None where there is none} of what does not do, such as
    {"keras<4,>=3.14": "3.10.0"}."""
    try:
        from packaging.requirements import Requirement
    except ImportError:  # which pip has always
        from pip._vendor.packaging.requirements import Requirement
    found = {}
    for line in requirements():
        asked = Requirement(line)
        there = [version for name in (asked.name, *SAME.get(asked.name, ())) if (version := installed(name))]
        if not any(asked.specifier.contains(version, prereleases=True) for version in there):
            found[f"{asked.name}{asked.specifier}"] = there[0] if there else None
    return found


def installed(name: str) -> str | None:
    """The version of a distribution, or of Python itself."""
    if name == "python":
        return "{}.{}.{}".format(*sys.version_info)
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def main(arguments: list[str]) -> int:
    if arguments == ["--lowest"]:
        sys.stdout.write("\n".join(lowest()) + "\n")
        return 0
    missing = lacking()
    texts = [f"{line} ({version or 'not installed'})" for line, version in missing.items()]
    text = f"wanted: {', '.join(texts)}" if texts else "everything is installed, in versions that do"
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
    if arguments != ["--install"] or not missing or any(line.startswith("python>") for line in missing):
        return int(bool(missing))
    return subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *missing], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
