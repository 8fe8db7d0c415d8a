"""Plugins that are wrong: whatever the command, one sentence says which class, what and where, and nothing trains."""

import re
import sys
import tempfile

import pytest

from ablate.cli import main as cli
from ablate.models import registry

HEAD = """
import threading
import numpy
from dataclasses import dataclass, field
from typing import Any
from ablate import {base}, Macs, Params, register

@register("{slot}", "bad", layer={layer})
@dataclass
class Bad({base}):
"""
SWEEP = "base: {{model: tiny, data: digits, plugins: [bad_plugin]}}\naxes: {{model.{slot}: [{ours}, bad]}}\nseeds: 1\n"
OURS = {
    "attention": "softmax",
    "mlp": "plain",
    "norm": "layer",
    "pooling": "seqpool",
    "positional": "none",
    "tokenizer": "conv",
}
COMMANDS = {
    "plan": ["plan", "+sweep=mine"],
    "sweep": ["+sweep=mine"],
    "run": ["model=tiny", "data=digits", "plugins=[bad_plugin]"],
}


@pytest.fixture
def refused(tmp_path, monkeypatch, capsys):
    """Writes a plugin and gives a command; what was said of it, of which there is one line and no traceback."""
    monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "sweeps").mkdir()

    def said(text, slot, command="plan"):
        (tmp_path / "bad_plugin.py").write_text(text)
        (tmp_path / "sweeps" / "mine.yaml").write_text(SWEEP.format(slot=slot, ours=OURS[slot]))
        with pytest.raises(SystemExit) as stop:
            cli.main([*COMMANDS[command], *([f"model.{slot}=bad"] if command == "run" else [])])
        out, err = capsys.readouterr()
        assert stop.value.code == 2, out + err
        assert len(err.splitlines()) == 1 and "Traceback" not in out
        assert not any(word in err for word in ("not foreseen", "report it"))
        assert not (tmp_path / "mlflow.db").exists()
        return err

    yield said
    sys.modules.pop("bad_plugin", None)


def _plugin(slot, body, layer='"bad_layers:make"'):
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    return HEAD.format(slot=slot, base=slot.title(), layer=layer) + lines


FAILS = {
    "check": ("positional", "def check(self, model): {}['x']", r"Bad\.check fails with KeyError: 'x'"),
    "params": ("attention", "def params(self, model, geometry): return 1 / 0", r"Bad\.params .* ZeroDivisionError"),
    "macs": ("attention", "def macs(self, model, geometry): return len(3)", r"Bad\.macs fails with TypeError"),
    "value": ("mlp", "def macs(self, model, geometry): return int('y')", r"Bad\.macs .* ValueError: invalid literal"),
    "place": ("positional", "acts_on = property(lambda self: {}['z'])", r"Bad\.acts_on fails with KeyError: 'z'"),
    "grid": ("tokenizer", "def grid(self, model, height, width): return 1 / 0", r"Bad\.grid fails with Zero"),
    "extra_tokens": ("pooling", "def extra_tokens(self): return 1 / 0", r"Bad\.extra_tokens fails with Zero"),
    "init": ("norm", "def __post_init__(self): self.x = nothing", r"Bad\.__init__ fails with NameError"),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("fault", FAILS)
def test_plugin_whose_spec_fails_is_told_with_its_line(refused, tmp_path, fault, command):
    slot, body, message = FAILS[fault]
    told = refused(_plugin(slot, body), slot, command)
    place = re.escape(f"({tmp_path / 'bad_plugin.py'}, line 11); mend it there, or leave the variant out.")
    assert re.search(rf"a plugin's spec must answer for the model that it is in, but {message}.* {place}", told)


ANSWERS = {
    "params": ("attention", "def params(self, model, geometry): return 5", "params of Bad must return ablate.Params"),
    "half": ("norm", "def params(self, model, geometry): return Params(1.5)", "of whole numbers from 0 on, got Params"),
    "negative": ("norm", "def macs(self, model, geometry): return Macs(-3)", "macs of Bad must return ablate.Macs of"),
    "nothing": ("norm", "def macs(self, model, geometry): pass", "of whole numbers from 0 on, got None."),
    "grid": ("tokenizer", "def grid(self, model, height, width): return 4", "grid of Bad must return (rows, columns)"),
    "extra": ("pooling", "def extra_tokens(self): return 'one'", "extra_tokens of Bad must return a whole number"),
    "nowhere": (
        "positional",
        "acts_on = 'nowhere'",
        "acts_on of Bad must be one of tokens, blocks, queries_keys, scores; got 'nowhere'.",
    ),
    "blocks": ("norm", "blocks: Any = 'first'", "model.options.norm.blocks must be all, last, or a list of blocks"),
    "array": (
        "positional",
        "table: Any = field(default_factory=lambda: numpy.eye(2))",
        "option table of Bad must be a number, text, true, false, null, or lists and mappings of these, got "
        "array([[1., 0.], [0., 1.]]).",
    ),
    "array of blocks": (
        "norm",
        "blocks: Any = field(default_factory=lambda: numpy.array([0, 1]))",
        "option blocks of Bad must be a number, text, true, false, null, or lists and mappings of these, got array",
    ),
    "lock": (
        "positional",
        "lock: Any = field(default_factory=threading.Lock)",
        "option lock of Bad must be a number, text, true, false, null, or lists and mappings of these, got <unlocked",
    ),
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_plugin_whose_spec_says_something_else_is_told_what_it_must_say(refused, answer):
    slot, body, message = ANSWERS[answer]
    assert message in refused(_plugin(slot, body), slot)


def test_plugin_is_told_by_what_it_raises_itself_not_by_what_led_to_it(refused, tmp_path):
    body = (
        "def check(self, model):\n    try:\n        {}['x']\n    except KeyError as error:\n"
        "        raise RuntimeError('my norm needs an even dim') from error"
    )
    told = refused(_plugin("positional", body), "positional")
    assert (
        f"Bad.check fails with RuntimeError: my norm needs an even dim ({tmp_path / 'bad_plugin.py'}, line 15)" in told
    )


FILES = {
    "default": (_plugin("positional", "scale: float"), "options of positional 'bad' must have defaults, got none for "
                "scale (looked"),
    "dot": (_plugin("positional", "pass", '"bad_layers.make"'), "the layer of positional 'bad' must be a factory or "
            "module:attribute, got 'bad_layers.make' (looked"),
    "none": (_plugin("positional", "pass", "None"), "must be a factory or module:attribute, got None (looked"),
    "serves": (_plugin("attention", "serves = 'scores'"), "serves must be a tuple of tokens, blocks, queries_keys, "
               "scores, got 'scores'"),
    "present": (_plugin("mlp", "present = 'no'"), "of the spec of mlp 'bad', present must be True or False, got 'no'"),
    "activation": (_plugin("mlp", "activation = 3"), "activation must be the name of one, or None, got 3"),
    "ptflops": (_plugin("activation", "ptflops = None"), "ptflops must be a whole number from 0 on, got None"),
    "function": ("from ablate import register\n\n@register('norm', 'bad', layer='a:b')\ndef bad(): pass\n", "the spec "
                 "of norm 'bad' must extend ablate.Norm, got bad"),
    "exit": ("import sys\nsys.exit(3)\n", "plugins must name importable modules; 'bad_plugin' fails with SystemExit: "
             "3 (looked"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FILES)
def test_plugin_that_registers_what_cannot_be_is_refused_as_it_is_imported(refused, fault):
    text, message = FILES[fault]
    assert message in refused(text, "norm")


def test_plugin_that_fails_where_nobody_asked_is_told_as_the_user_s(refused, monkeypatch, tmp_path):
    def asked(command):
        import bad_plugin

        bad_plugin.Bad().later()

    text = _plugin("norm", "def later(self): raise RuntimeError('too late')")
    (tmp_path / "bad_plugin.py").write_text(text)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setitem(cli.VERBS, "models", cli.Verb(asked, ""))
    code, said = cli._outcome(["models"])
    line = f"({tmp_path / 'bad_plugin.py'}, line 11)"
    assert code == 1
    assert said.startswith(f"ablate: a plugin must not fail, but there is RuntimeError: too late {line}; mend it there")
    assert "The traceback is in" in said and "report" not in said


def test_norm_of_some_blocks_is_costed_where_it_stands(refused, tmp_path):
    from ablate.models.spec import ModelSpec

    body = "blocks: Any = 'last'\ndef params(self, model, geometry): return Params(1000)"
    (tmp_path / "bad_plugin.py").write_text(_plugin("norm", body))
    import bad_plugin  # noqa: F401

    shape, plain = (8, 8, 1), ModelSpec(layers=3, dim=16, heads=2)
    for blocks, count in (("all", 7), ("last", 2), ([0, 2], 4)):
        spec = ModelSpec(layers=3, dim=16, heads=2, norm="bad", options={"norm": {"blocks": blocks}})
        spec.check()
        assert spec.params(shape, 10) == plain.params(shape, 10) + count * (1000 - 2 * 16)
        assert [each.name for each in spec.entries() if each.slot == "norm"] == (
            ["bad"] if blocks == "all" else ["layer", "bad"] if blocks == "last" else ["bad", "layer"]
        )


def test_option_blocks_of_a_slot_that_is_no_block_s_is_the_plugin_s_own(refused, tmp_path):
    from ablate.models.spec import ModelSpec

    (tmp_path / "bad_plugin.py").write_text(_plugin("positional", "blocks: int = 5"))
    import bad_plugin  # noqa: F401

    spec = ModelSpec(layers=2, dim=16, heads=2, positional="bad")
    spec.check()
    assert [each.name for each in spec.entries() if each.slot == "positional"] == ["bad"]
