"""JSON files that others have written or changed: one line with file and reason, whatever they hold."""

from __future__ import annotations

import functools
import json
import operator
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from phonybrains.documents import DEEPEST
from phonybrains.errors import PhonyBrainsError
from phonybrains.evaluation.findings import Facts, Findings
from phonybrains.evaluation.score import Score
from phonybrains.model.fine_tuned import FineTuned
from phonybrains.model.folder import read_model
from phonybrains.model.schema import read_conditions
from phonybrains.readerstudy.study import Study
from phonybrains.record import read_record, sha256_file, split_methods
from phonybrains.release_gate import AUDIT_NAME, read_audit

NO_DOCUMENTS = {
    "list": "[]",
    "null": "null",
    "number": "7",
    "text": '"model"',
    "empty": "",
    "half": '{"a": ',
    "deep": "[" * 100_000,
    "deep enough to be parsed": '{"results": ' + "[" * DEEPEST + "]" * DEEPEST + "}",
    "digits": '{"size": ' + "9" * 5000 + "}",
    "half a character": '{"stage": "\\ud800"}',
    "no UTF-8": "\udcff",
}
READERS: dict[str, Callable[[Path], Any]] = {
    "record.json": lambda path: read_record(path.parent),
    "model.json": lambda path: read_model(path.parent),
    "finetune.json": lambda path: FineTuned.load(path.parent),
    "conditions.json": lambda path: read_conditions(path, "Copy it again."),
    AUDIT_NAME: read_audit,
    "protocol.json": lambda path: Study.open(path.parent),
    "scores.json": lambda path: Findings.load(path.parent),
}


def refusal(read: Callable[[], object]) -> str:
    with pytest.raises(PhonyBrainsError) as error:
        read()
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("kind", NO_DOCUMENTS)
@pytest.mark.parametrize("name", READERS)
def test_what_is_no_document_is_refused(tmp_path: Path, name: str, kind: str) -> None:
    """Every reader names its file in one line for what is no JSON, or is JSON of another shape."""
    path = tmp_path / name
    path.write_text(NO_DOCUMENTS[kind], encoding="utf-8", errors="surrogateescape")
    if (name, kind) == ("scores.json", "list"):
        path = tmp_path / "facts.json"  # no scores are scores, and what they rest on is missing
    assert str(path) in refusal(lambda: READERS[name](tmp_path / name))


WRONG_TYPES: dict[str, dict[str, Any]] = {
    "inputs": {"inputs": 3},
    "inputs.0.record.inputs.0.record": {"inputs": [{"record": {"inputs": [{"record": 5}]}}]},
    "inputs.0": {"inputs": [None]},
    "sources.0": {"sources": [1]},
    "results": {"results": None},
    "stage": {"stage": float("nan")},
    "identity": {"identity": []},
}


@pytest.mark.parametrize("key", WRONG_TYPES)
def test_a_record_of_other_types_names_the_key(tmp_path: Path, key: str) -> None:
    """A wrong type is found however deep it is nested."""
    (tmp_path / "record.json").write_text(json.dumps(WRONG_TYPES[key]), encoding="utf-8")
    assert f"record.json: {key}: " in refusal(lambda: read_record(tmp_path))


def test_how_a_set_was_split_is_told_of_any_record(tmp_path: Path) -> None:
    """A method that is no text is shown as one, and none is no crash."""
    (tmp_path / "record.json").write_text('{"results": {"split": {"MR": 3}}, "inputs": null}', encoding="utf-8")
    assert split_methods(read_record(tmp_path)) == {"MR": "3"}


def edited(model: Path, folder: Path, name: str, keys: str, value: Any) -> Path:
    """A copy of a model with the value at keys, `a.0.b`, of one of its files changed, and that file's hash adjusted."""
    copy = Path(shutil.copytree(model, folder / "model"))
    content = json.loads((copy / name).read_text(encoding="utf-8"))
    *way, last = [int(key) if key.isdigit() else key for key in keys.split(".")]
    functools.reduce(operator.getitem, way, content)[last] = value
    (copy / name).write_text(json.dumps(content), encoding="utf-8")
    description = json.loads((copy / "model.json").read_text(encoding="utf-8"))
    description.pop("identity", None)  # what follows that check is to be tried
    if isinstance(hashes := description["sha256"], dict):
        hashes.pop("model.json", None)
        if name != "model.json":
            hashes[name] = sha256_file(copy / name)
    (copy / "model.json").write_text(json.dumps(description), encoding="utf-8")
    return copy


ODD_VALUES: dict[str, dict[str, list[Any]]] = {
    "model.json": {
        "size": [2**70, -64, "large", 65],
        "steps": [0, float("inf")],
        "format_version": ["two"],
        "augmentation_width": [2**40],
        "diffusion": ["laser"],
        "latent_scale": [{}],
        "latent_scale.MR": [5],
        "units": [{"CT": [1, 2]}],
        "sha256": [[1]],
    },
    "unet/config.json": {
        "block_out_channels": [[2**40, 2**40], [], [4096, 8192]],
        "layers_per_block": [10**9],
        "down_block_types": [None],
        "norm_num_groups": [0],
        "time_embedding_type": [3],
    },
    "autoencoder/config.json": {"encoder_layers_per_block": ["many"], "latent_channels": [-1]},
    "scheduler/scheduler_config.json": {"shift": ["a", 0]},
    "conditions.json": {
        "attributes": [None],
        "attributes.0.name": ["kind"],
        "attributes.0.labels": [[1]],
        "attributes.1.name": ["modality"],
        "combinations.0": [[["MR"], 4]],
        "combinations.0.1": [0],
        "patients": [[]],
        "patients.0": [["x", 0]],
        "tenths": [{}],
        "tenths.age_years.MR": ["1/1"],
    },
}


@pytest.mark.parametrize(
    ("name", "keys", "value"),
    [(name, key, value) for name, odd in ODD_VALUES.items() for key, values in odd.items() for value in values],
)
def test_a_model_of_odd_values_is_refused(tiny_model: Path, tmp_path: Path, name: str, keys: str, value: Any) -> None:
    """Sizes without end, wrong types and parts that do not fit: in one line, without the memory they ask for."""
    copy = edited(tiny_model, tmp_path, name, keys, value)
    if (name, keys) == ("conditions.json", "patients"):
        assert read_model(copy).conditions.patients == ()  # as of models made before patients were counted
    else:
        assert str(copy) in refusal(lambda: read_model(copy))


@pytest.mark.parametrize("key", ["verdict", "n", "reasons", "version"])
def test_an_audit_of_other_types_names_the_key(tmp_path: Path, key: str) -> None:
    """audit.json decides what people are shown, so that no part of it is taken on trust."""
    content = {"version": 2, "samples": "x", "verdict": "passed", key: {"a": 1}}
    (tmp_path / AUDIT_NAME).write_text(json.dumps(content), encoding="utf-8")
    assert f"{AUDIT_NAME}: {key}: " in refusal(lambda: read_audit(tmp_path))


def test_findings_of_other_types_are_measured_again(tmp_path: Path) -> None:
    """Half-written or foreign findings are refused by the reader, and so made anew by the evaluation."""
    Findings([Score("kid", 1.0)], facts=Facts(sentence="Said.")).save(tmp_path)
    assert Findings.load(tmp_path).scores == [Score("kid", 1.0)]
    (tmp_path / "scores.json").write_text('[{"name": 3}]', encoding="utf-8")
    assert "scores.json: 0.name: " in refusal(lambda: Findings.load(tmp_path))
