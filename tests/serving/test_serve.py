"""`phonybrains serve` as it runs, asked by OpenAI's client, by twenty at once, and badly."""

from __future__ import annotations

import http.client
import io
import json
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from phonybrains.generating.stage import generate
from phonybrains.imageset import ImageSet
from phonybrains.model.description import read_description
from phonybrains.model.latent_diffusion import LatentDiffusion
from phonybrains.serving.answer_cache import AnswerCache
from tests.serving.conftest import Generated
from tests.support.served_model import ServedModel, stacked, texts_of
from tests.support.web_server import until

pytest.importorskip("openai")


def test_openais_client_gets_what_generate_makes(model_server: ServedModel, model: LatentDiffusion, tiny_model: Path):
    """Prompt, seed, steps and n; the words that mean nothing are reported, each image says what it was made of."""
    answer = model_server.client().images.generate(
        prompt="A photorealistic axial CT, age 50",
        n=3,
        size="64x64",
        model=tiny_model.name,  # type: ignore[arg-type]
        extra_body={"seed": 11, "steps": 3},
    )
    assert answer.unknown_words == ["photorealistic"]
    assert answer.understood == "modality CT, plane axial, age_years 50"
    where = {"modality": "CT", "plane": "axial", "age_years": 50}
    assert (stacked(answer) == model.generate(4, where, seed=11, steps=3, batch_size=4).images[:3]).all()
    wanted = model.ask(range(3), where, 11)
    assert [item.conditions for item in answer.data] == wanted
    assert all("modality CT, plane axial" in item.revised_prompt for item in answer.data)


def test_every_png_says_that_it_is_synthetic(model_server: ServedModel, tiny_model: Path):
    """As text that any program reads, and as XMP with the digital source type of IPTC; equal requests, equal bytes."""
    body = {"prompt": "MRI", "n": 2, "seed": 4, "steps": 2}
    first, second = (model_server.ask(body)[1]["data"] for _ in range(2))
    assert [item["b64_json"] for item in first] == [item["b64_json"] for item in second]
    url = model_server.ask(body | {"response_format": "url"})[1]["data"][1]["url"]
    texts = texts_of(model_server.get(url.removeprefix(model_server.base)))
    facts = texts["phonybrains"]
    assert (facts["synthetic"], facts["digitalSourceType"]) == (True, "trainedAlgorithmicMedia")
    assert (facts["generator"], facts["model_sha256"]) == (tiny_model.name, read_description(tiny_model)["identity"])
    assert (facts["seed"], facts["index"], facts["steps"]) == (4, 1, 2)
    assert facts["conditions"]["modality"] == "MR"
    assert "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia" in texts["XML:com.adobe.xmp"]
    assert "no patient" in texts["Description"]


def test_twenty_clients_at_once_get_their_own_images(model_server: ServedModel, generated: Generated):
    """Twenty clients ask twice each, with seeds, sizes and samplings of their own: none is lost or wrong."""
    asks = [(seed, 1 + seed % 3, ("CT", "MR")[seed % 2], 1 + seed % 2) for seed in range(40)]

    def client(number: int) -> list[np.ndarray]:
        images = model_server.client().images
        return [
            stacked(images.generate(prompt=what, n=n, extra_body={"seed": seed, "steps": steps}))
            for seed, n, what, steps in asks[number::20]
        ]

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(client, range(20)))
    assert sum(map(len, answers)) == 40
    for number, own in enumerate(answers):
        for (seed, n, what, steps), images in zip(asks[number::20], own, strict=True):
            assert (images == generated(seed, n, what, steps=steps)).all(), (seed, n)


@pytest.mark.parametrize(
    ("body", "status", "param", "words"),
    [
        (b"{", 400, None, "not valid JSON"),
        (b"[]", 400, None, "not a JSON object"),
        (b"\xff\xfe", 400, None, "not valid JSON"),
        (b'{"prompt": "\\ud800"}', 400, None, "not valid JSON"),
        (b'{"prompt": "CT", "guidance": NaN}', 400, "guidance", "finite number"),
        (b'{"prompt": "CT", "where": {"age_years": Infinity}}', 400, "where", "outside what the model has seen"),
        (b'{"prompt": "CT", "seed": 1e400}', 400, "seed", "valid integer"),
        (b"[" * 60_000, 400, None, "not valid JSON"),
        (b" " * 70_000, 413, None, "larger than 65536 bytes"),
        ({}, 400, "prompt", "Missing required parameter: 'prompt'"),
        ({"prompt": 5}, 400, "prompt", "valid string"),
        ({"prompt": "CT", "n": 0}, 400, "n", "greater than or equal to 1"),
        ({"prompt": "CT", "n": 33}, 400, "n", "less than or equal to 32"),
        ({"prompt": "CT", "n": "2"}, 400, "n", "valid integer"),
        ({"prompt": "CT", "size": "1024x1024"}, 400, "size", "paints 64x64"),
        ({"prompt": "CT", "model": "dall-e-3"}, 404, "model", "'dall-e-3' does not exist here"),
        ({"prompt": "CT MRI"}, 400, "prompt", "modality CT and MR; no image has both"),
        ({"prompt": "age 500"}, 400, "prompt", "age_years 500 is outside what the model has seen"),
        ({"prompt": "CT", "where": {"modality": "MR"}}, 400, "where", "'where' for MR"),
        ({"prompt": "CT", "where": {"plan": "axial"}}, 400, "where", "Did you mean plane?"),
        ({"prompt": "CT", "response_format": "gif"}, 400, "response_format", "'url' or 'b64_json'"),
        ({"prompt": "CT", "output_format": "webp"}, 400, "output_format", "'png'"),
        ({"prompt": "CT", "stream": True}, 400, "stream", "stream"),
        ({"prompt": "CT", "seed": -1}, 400, "seed", "greater than or equal to 0"),
        ({"prompt": "CT", "steps": 100_000}, 400, "steps", "less than or equal to 1000"),
        ({"prompt": "CT", "steps": 2, "guidance": 3}, 400, "guidance", "few-step weights have theirs built in"),
        ({"prompt": "CT", "sampler": "magic"}, 400, "sampler", "'magic' is not known"),
        ({"prompt": "CT", "colour": "red"}, 400, "colour", "Unknown parameter: 'colour'"),
    ],
    ids=str,
)
def test_bad_requests_get_a_reason(model_server: ServedModel, body: Any, status: int, param: str | None, words: str):
    """4xx in OpenAI's format of errors, with the parameter and what is possible."""
    found, content, _ = model_server.ask(body)
    error = content["error"]
    assert found == status, error
    assert words in error["message"]
    assert (error["param"], error["type"]) == (param, "invalid_request_error")
    assert set(error) == {"message", "type", "param", "code"}


def test_wrong_doors_are_closed(model_server: ServedModel):
    """Other paths, methods, content types, hosts and sites; OpenAI's client raises the errors it knows."""
    import openai

    with pytest.raises(openai.BadRequestError, match="no image has both"):
        model_server.client().images.generate(prompt="CT MRI")
    with pytest.raises(openai.NotFoundError, match="does not exist here"):
        model_server.client().models.retrieve("gpt-image-1")
    assert [model_server.ask({}, f"/v1/{path}")[0] for path in ("chat/completions", "models")] == [404, 405]
    for name, value, status in (
        ("Content_Type", "text/plain", 415),
        ("Origin", "https://evil.example", 403),
        ("Sec_Fetch_Site", "cross-site", 403),
        ("Host", "evil.example", 403),
        ("Host", "a b", 400),
    ):
        assert model_server.ask({"prompt": "CT"}, **{name: value})[0] == status
    models = model_server.client().models
    assert [model.id for model in (*models.list(), models.retrieve("tiny"))] == ["tiny", "tiny"]


def test_a_client_that_hangs_up_frees_its_work(model_server: ServedModel):
    """Its images leave the queue, and the next client does not wait for them."""
    address = model_server.base.removeprefix("http://")
    connection = http.client.HTTPConnection(address)
    body = json.dumps({"prompt": "CT", "n": 32, "steps": 50})
    connection.request("POST", "/v1/images/generations", body, {"Content-Type": "application/json"})
    until(lambda: model_server.waiting() > 0)
    connection.close()
    until(lambda: model_server.waiting() == 0)
    assert model_server.ask({"prompt": "CT", "steps": 1})[0] == 200


def test_an_answer_as_an_image_set_is_that_of_generate(model_server: ServedModel, tiny_model: Path, tmp_path: Path):
    """Unpacked, the set opens, and has the rows, the record and the pixels of `phonybrains generate`."""
    asked = {"prompt": "CT", "n": 4, "seed": 21, "steps": 2}
    key = model_server.ask(asked)[1]["id"]
    zipfile.ZipFile(io.BytesIO(model_server.get(f"/playground/answers/{key}.zip"))).extractall(tmp_path)
    found = ImageSet.open(tmp_path / "tiny-seed-21")
    made = ImageSet.open(
        generate(tiny_model, tmp_path / "made", 4, where={"modality": "CT"}, seed=21, steps=2, batch_size=4, show=False)
    )
    assert found.rows == made.rows
    assert found.record["identity"] == made.record["identity"]
    assert found.record["results"]["prompt"] == "CT"
    assert model_server.ask({}, f"/playground/answers/{key}x/0/film")[0] == 404
    assert model_server.ask({}, f"/playground/answers/{key}/4/film")[0] == 404


def test_the_address_of_images_expires():
    """A cache forgets after its time, and drops the oldest when it is full; the newest it always has."""
    now = 0.0
    answers = AnswerCache(seconds=10, most_bytes=100, clock=lambda: now)

    def put(size: int) -> str:
        return answers.put(None, (b"x" * size,))[0]  # type: ignore[arg-type]

    first = put(60)
    assert answers.get(first)
    second = put(60)
    assert answers.get(first) is None
    third = put(400)
    assert answers.get(second) is None
    assert answers.get(third)
    now = 11.0
    assert answers.get(third) is None
    assert answers.get("guess") is None
