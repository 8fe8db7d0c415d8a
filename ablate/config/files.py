"""Where files of settings and sweeps lie: the installation's, and the user's own in the working directory."""

from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

import yaml

from ablate.config import document
from ablate.config.overrides import ConfigError
from ablate.contract import task
from ablate.design import check as definition
from ablate.words import unknown


def package_dir(name: Literal["conf", "sweeps"]) -> Path:
    """``conf`` or ``sweeps`` of the installation: inside the wheel, or beside the package in a checkout."""
    inside = Path(__file__).parents[1] / f"_{name}"
    return inside if inside.is_dir() else Path(__file__).parents[2] / name


def folders(name: Literal["conf", "sweeps"]) -> list[Path]:
    """The user's own folder in the working directory first, then the installation's."""
    own, ours = Path.cwd() / name, package_dir(name)
    return [ours] if not own.is_dir() or own.resolve() == ours.resolve() else [own, ours]


def sweep_files() -> dict[str, Path]:
    """Sweep name -> its file; a user's ``./sweeps/NAME.yaml`` stands before ours. Nothing is parsed."""
    found: dict[str, Path] = {}
    for folder in folders("sweeps"):
        for path in sorted(folder.glob("*.yaml")):
            found.setdefault(path.stem, path)
    return dict(sorted(found.items()))


def group_choices(group: str) -> list[str]:
    """What a config group offers, e.g. ``group_choices("data")``."""
    if group == "sweep":
        return list(sweep_files())
    found = {path.stem for folder in folders("conf") for path in (folder / group).glob("*.yaml")}
    return [*sorted(found), *task().presets(group)]


def groups() -> tuple[str, ...]:
    """All config groups: those that a run is composed of, and where records are kept."""
    return (*task().groups, "tracking")


def preset(group: str, option: str) -> Any | None:
    """What an option that stands in no file is, as the group's dataclass.

    Returns:
        None for what is no preset's name, and where a file of that name stands before it.
    """
    found = task().preset(group, option)
    if found is None or any((folder / group / f"{option}.yaml").is_file() for folder in folders("conf")):
        return None
    return found


def read_sweep(name: str) -> dict[str, Any]:
    """The content of a sweep's file; only the file that is asked for is parsed, so a broken one harms no other.

    Raises:
        ConfigError: There is no such sweep, or its file holds no axes.
        SweepError: The file cannot be read, or what it says makes no sense.
    """
    path = sweep_files().get(name)
    if path is None:
        raise ConfigError(_unknown_sweep(name))
    for other in (folder / "sweep" / f"{name}.yaml" for folder in folders("conf")):
        if other.is_file():
            raise ConfigError(
                f"a sweep must be one file, got {path} and {other}, which Hydra would mix; rename or remove the second."
            )
    content = load_sweep(path)
    if isinstance(content, dict) and "axes" not in content:
        definition.check_keys(name, content)  # it may be misspelt
    if not isinstance(content, dict) or not isinstance(content.get("axes"), dict):
        raise ConfigError(f"{path} must hold a mapping with the key axes (docs/sweeps.md shows one).")
    definition.check(name, content, task().tables)
    return {"name": name, **content}


def load_sweep(path: Path) -> Any:
    """What a sweep's file holds, unchecked but for its limits; None where it is no mapping.

    Raises:
        SweepError: It is no YAML, too large, or reaches beyond its runs.
    """
    return document.load(path, [part.name for part in fields(task().run)])


def _unknown_sweep(name: str) -> str:
    """What there is instead, where a file was named or lies there under another ending."""
    files, stem = sweep_files(), Path(name).stem
    if name != stem and stem in files:
        return f"a sweep must be named without folder and ending, got {name!r}; write +sweep={stem}."
    if (wrong := Path("sweeps", f"{stem}.yml")).is_file():
        return f"a sweep's file must end in .yaml, got {wrong}; rename it."
    return unknown("sweep", name, files)


def not_utf8() -> str:
    """The user's files of settings that are written in something else."""
    found = []
    for file in sorted(path for path in (Path.cwd() / "conf").rglob("*.yaml") if path.is_file()):
        try:
            file.read_text("utf-8")
        except UnicodeDecodeError:
            found.append(str(file))
        except OSError:
            continue
    return ", ".join(found)


def check_aliases() -> None:
    """Refuses a file of the user's own settings whose aliases would fill the memory, before Hydra reads it.

    Raises:
        ConfigError: Naming the file.
    """
    for file in (Path.cwd() / "conf").rglob("*.yaml"):
        try:
            text = file.read_text("utf-8-sig") if file.is_file() else ""
            values = document.written_out(text) if "*" in text else 0
        except (OSError, ValueError, yaml.YAMLError):
            continue  # who reads it says what is wrong
        if values > max(document.MOST_VALUES, len(text)):  # more than can be written in so many letters
            raise ConfigError(
                f"{file} must hold at most {document.MOST_VALUES:,} values, aliases written out, got {values:,}."
            )
