"""The plugins of docs/architecture.md, verbatim, and plugins that fail, from the command line."""

import numpy as np
import pytest

from ablate.models.saved import load_model
from tests.e2e.test_cli import ablate
from tests.unit.models.test_models_plugins import FILES, VARIANTS, plugins  # noqa: F401  a fixture, by its name

SWEEP = "base: {{model: tiny, data: digits, train.epochs: 1}}\naxes: {{model.{slot}: [{ours}, {name}]}}\nseeds: 1\n"
OURS = {"positional": "learnable", "attention": "softmax"}
FAULT = """
from dataclasses import dataclass
from ablate import Positional, register

@register("positional", "scaled", layer="my_layers:scaled")
@dataclass
class Scaled(Positional):
    scale: float = 1.0
"""


def _planned(folder, slot, name):
    (folder / "sweeps").mkdir(exist_ok=True)
    (folder / "sweeps" / "mine.yaml").write_text(SWEEP.format(slot=slot, ours=OURS[slot], name=name))


@pytest.mark.full
@pytest.mark.parametrize("plugin", VARIANTS)
def test_plugin_of_the_pages_is_planned_trained_and_kept(plugin, tmp_path, request):
    ((slot, name),) = VARIANTS[plugin].items()
    for file, text in FILES.items():
        (tmp_path / file).write_text(text)
    _planned(tmp_path, slot, name)
    planned = ablate("plan", "+sweep=mine", f"plugins=[{plugin}]", cwd=tmp_path)
    assert planned.returncode == 0, planned.stderr
    assert name in planned.stdout and not (tmp_path / "mlflow.db").exists()
    ran = ablate(
        "model=tiny", "data=digits", "train.epochs=1", f"plugins=[{plugin}]", f"model.{slot}={name}", cwd=tmp_path
    )
    assert ran.returncode == 0, ran.stderr
    request.getfixturevalue("plugins")
    model = load_model(next(tmp_path.glob("**/artifacts/*.keras")))
    assert getattr(model.get_layer("encoder").spec, slot) == name
    assert np.isfinite(model(np.zeros((2, 8, 8, 1), "float32"))).all()


@pytest.mark.full
def test_plugin_without_its_layer_s_file_is_refused_in_a_sentence(tmp_path):
    (tmp_path / "my_module.py").write_text(FAULT)
    _planned(tmp_path, "positional", "scaled")
    words = ["plugins=[my_module]"]
    for command in (["plan", "+sweep=mine"], ["model=tiny", "data=digits", "model.positional=scaled"]):
        result = ablate(*command, *words, cwd=tmp_path)
        assert result.returncode == 2, result.stdout + result.stderr
        said = [line for line in result.stderr.splitlines() if line.startswith("ablate: ")]
        assert said == [
            "ablate: positional=scaled must be built before anything trains, but layer my_layers:scaled fails with "
            "ModuleNotFoundError: No module named 'my_layers'; mend it there, or leave it out."
        ]
        assert "Traceback" not in result.stderr + result.stdout
    swept = ablate("+sweep=mine", *words, cwd=tmp_path)
    assert swept.returncode == 1 and "No module named 'my_layers'" in swept.stdout
