"""Which module imports which: in one direction only, and without circles; and whether tests mirror the modules."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
# Packages and modules of har_tf from left to right. Each imports only from those of earlier lines; where several stand
# in a line, they do not import each other.
LAYERS = (
    ("signals",),
    ("engine", "files", "quiet", "ranges"),
    ("names",),
    ("ahead", "command", "networks", "paper", "progress", "training_recipe", "workers"),
    ("devices",),
    ("leader", "video"),
    ("datasets", "models"),
    ("audit", "explain", "pipeline"),
    ("evaluate", "replicated", "store"),
    ("training",),
    ("concepts", "scrutiny", "trial"),
    ("classifier",),
    ("subject",),
    ("bulk", "export", "live"),
    ("report",),
    ("experiment",),
    ("front_door",),
    ("cli", "notebook"),
    ("__main__",),
)
# The front door, which imports when a name is used, and the version.
FRONT = "har_tf"
# Modules that are tested in the file of a neighbour, or through the experiment that uses them.
TESTED_BY = {
    "__main__": "cli/test_app.py",
    "quiet": "cli/test_app.py",
    "cli.reading": "cli/test_predict.py",
    "datasets.errors": "datasets/test_load.py",
    "datasets.stick_figures.drawing": "datasets/stick_figures/test_dataset.py",
    "engine": "models/test_grouped_conv.py",
    "evaluate.fusion_rows": "experiments/test_fusion_gru.py",
    "evaluate.gated_rows": "experiments/test_gated_recognition.py",
    "evaluate.options": "evaluate/test_boxed_clips.py",
    "explain.elsewhere": "test_devices.py",
    "explain.options": "explain/test_methods.py",
    "files.errors": "video/test_errors.py",
    "files.limits": "video/test_guard.py",
    "models.weights.checkpoints": "models/weights/test_import_weights.py",
    "models.weights.form": "models/weights/test_import_weights.py",
    "models.weights.googlenet": "models/weights/test_import_weights.py",
    "models.weights.resnext3d": "models/test_resnext3d.py",
    "models.weights.torch_file": "models/weights/test_import_weights.py",
    "models.weights.video_swin": "models/test_video_swin.py",
    "networks": "models/test_zoo.py",
    "report.pages.train": "test_front_door.py",
    "report.pages.zero_shot": "experiments/test_zero_shot_run.py",
    "report.pages.concepts": "experiments/test_video_tcav.py",
    "subject": "experiments/test_cam3d_localization.py",
    "store.indexed": "store/test_prepared.py",
    "store.shards": "store/test_prepare.py",
    "training_recipe": "test_training.py",
    "video.display": "video/test_reader.py",
    "video.stream": "video/test_reader.py",
}
EMPTY_NAMES = {"utils", "util", "common", "helpers", "misc"}


def modules(folder: str) -> dict[str, Path]:
    """{dotted name: file}; a package goes by its own name."""
    found = {}
    for path in sorted((REPOSITORY / folder).rglob("*.py")):
        parts = path.relative_to(REPOSITORY).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(name: str, path: Path, known: set[str]) -> set[str]:
    """The known modules that a module imports, anywhere in it."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            source = ".".join([*parts, *([node.module] if node.module else [])])
            found.update(inner if (inner := f"{source}.{alias.name}") in known else source for alias in node.names)
    return (found & known) - {name}


HAR_TF, EXPERIMENTS = modules("har_tf"), modules("experiments")
KNOWN = {*HAR_TF, *EXPERIMENTS}
IMPORTS = {name: imported(name, path, KNOWN) for name, path in (HAR_TF | EXPERIMENTS).items()}


def place(name: str) -> str:
    """The part of har_tf that a module belongs to, as `LAYERS` calls it."""
    return name.split(".")[1]


def test_no_modules_import_each_other_in_a_circle():
    try:
        TopologicalSorter(IMPORTS).prepare()
    except CycleError as error:
        raise AssertionError(" -> ".join(error.args[1])) from None


def test_imports_go_one_way():
    rank = {part: number for number, layer in enumerate(LAYERS) for part in layer}
    inner = [name for name in HAR_TF if name != FRONT]
    assert not {place(name) for name in inner} - rank.keys(), "what does it stand above? Say so in LAYERS"
    wrong = [
        f"{name} imports {other}"
        for name in inner
        for other in IMPORTS[name] - {FRONT}
        if other in HAR_TF and place(other) != place(name) and rank[place(other)] >= rank[place(name)]
    ]
    assert not wrong, "\n".join(wrong)


def test_nothing_imports_experiments_and_no_experiment_another():
    wrong = [f"{name} imports {other}" for name in IMPORTS for other in IMPORTS[name] if other in EXPERIMENTS]
    assert not [line for line in wrong if not line.endswith(" imports experiments")]


def test_every_module_has_its_tests():
    lacking = []
    for name, path in HAR_TF.items():
        short = name.partition(".")[2]
        folder = REPOSITORY / "tests" / path.parent.relative_to(REPOSITORY / "har_tf")
        # Two files of tests cannot have the same name: that of the store is test_flow_store.py.
        own = [folder / f"test_{path.stem}.py", *folder.glob(f"test_{path.stem}_*.py")]
        if short in TESTED_BY:
            own.append(REPOSITORY / "tests" / TESTED_BY[short])
        if path.name != "__init__.py" and not any(file.is_file() for file in own):
            lacking.append(str(path.relative_to(REPOSITORY)))
    assert not lacking


def test_names_of_files_say_what_is_in_them():
    assert not [path for path in HAR_TF.values() if path.stem in EMPTY_NAMES or path.parent.name in EMPTY_NAMES]


def test_a_circle_and_relative_imports_are_seen(tmp_path):
    (tmp_path / "a.py").write_text("def f():\n    from . import b\n    from .c import x\n    from p.d import e\n")
    assert imported("p.a", tmp_path / "a.py", {"p.a", "p.b", "p.c", "p.d.e", "p.d"}) == {"p.b", "p.c", "p.d.e"}
