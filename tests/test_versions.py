"""Las tres versiones de un script son el mismo fichero, que crece."""

import re

import pytest
import yaml
from conftest import ROOT

VERSIONS = ROOT / "versions"
YAMLS = ["single_run_dvc.yaml", "single_run_dvc_args.yaml", "loop_template_dvc.yaml"]
CONSTANT = r"\b(NAME|EPOCHS|LR|SEED|PARTITIONS|MODELS|METRICS|EVALUATIONS)\b"


def body(path):
    """El código de un script, sin el docstring ni los nombres de las versiones."""
    text = path.read_text(encoding="utf-8").split('"""\n', 1)[1]
    return re.sub(r"\b(train|eval)(_single|_args)?\.py", r"\1.py", text)


@pytest.mark.parametrize("script", ["train", "eval"])
def test_single_without_its_constants_is_args(script):
    """Deshacer la lección tiene que dar el mismo código, letra por letra."""
    single, args = body(VERSIONS / f"{script}_single.py"), body(VERSIONS / f"{script}_args.py")
    undone = re.sub(r"(?s)def parse_args.*?\n\n\n", "", args).replace(
        "    args = parse_args()\n", ""
    )
    undone = re.sub(r"\bargs\.(\w+)", lambda found: found[1].upper(), undone)
    undone = undone.replace("(--lr)", "(LR)")
    assert re.sub(rf"(?m)^{CONSTANT} = .*\n", "", single) == undone


@pytest.mark.parametrize("script", ["train", "eval"])
def test_the_last_step_changes_only_the_default_name(script):
    assert body(VERSIONS / f"{script}_args.py").replace('"args"', '"rapido"') == body(
        ROOT / f"{script}.py"
    )


@pytest.mark.parametrize("script", ["train", "eval"])
def test_constants_and_defaults_agree(script):
    """Las tres versiones hacen, si no se cambia nada, lo mismo."""
    single = body(VERSIONS / f"{script}_single.py")
    values = dict(re.findall(rf"(?m)^{CONSTANT} = ([^#\n]*?)(?:  #.*)?$", single))
    defaults = re.findall(r'"--(\w+)",.* default=(.*?), help', body(VERSIONS / f"{script}_args.py"))
    assert {name.upper(): value for name, value in defaults} == values | {"NAME": '"args"'}


def test_loop_template_is_the_pipeline_of_the_repository():
    assert (VERSIONS / YAMLS[-1]).read_bytes() == (ROOT / "dvc.yaml").read_bytes()


def outputs(stage):
    for kind in ("outs", "metrics", "plots"):
        for out in stage.get(kind, []):
            yield next(iter(out)) if isinstance(out, dict) else out


def test_the_stages_have_the_same_names_and_their_outputs_do_not_collide():
    pipelines = [yaml.safe_load((VERSIONS / name).read_text(encoding="utf-8")) for name in YAMLS]
    seen = set()
    for pipeline in pipelines[:2]:
        stages = pipeline["stages"]
        assert list(stages) == ["prepare", "train", "evaluate"]
        own = {out for name in ("train", "evaluate") for out in outputs(stages[name])}
        assert len(own) == 7 and not own & seen
        seen |= own
        assert set(outputs(stages["prepare"])) == set(outputs(pipelines[2]["stages"]["prepare"]))
    runs = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["train"]["runs"]
    assert not {"single", "args"} & set(runs)
