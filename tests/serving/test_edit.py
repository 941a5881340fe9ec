"""Edits of one picture by a served model: those of `phonybrains edit`, marked as edits, refused with a reason."""

from __future__ import annotations

import asyncio
import base64
import http.client
import io
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from phonybrains.editing.config import Edit, Inpaint, Upscale, Vary
from phonybrains.editing.stage import edit
from phonybrains.editing.upscale import block_means
from phonybrains.imageset import ImageSet, Row, read_png, write_mask, write_metadata, write_png
from phonybrains.model.latent_diffusion import LatentDiffusion
from phonybrains.model.sampling import Sampling
from phonybrains.record import sha256_file
from phonybrains.serving.app import make_app
from phonybrains.serving.batch import Edited, Order
from phonybrains.serving.batcher import Batcher
from phonybrains.serving.in_steps import in_steps
from phonybrains.serving.serve import open_context
from tests.support.served_model import ServedModel, pixels, texts_of
from tests.support.web_server import status, until

EDIT, PICTURE = "/playground/edits/edit", "/playground/edits/picture"
CT = {"modality": "CT"}


def as_png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return buffer.getvalue()


def b64(content: bytes | np.ndarray) -> str:
    return base64.b64encode(as_png(content) if isinstance(content, np.ndarray) else content).decode()


def images_of(answer: dict[str, Any]) -> np.ndarray:
    return np.stack([pixels(base64.b64decode(item["b64_json"])) for item in answer["data"]])


def square(size: int, box: tuple[int, int, int, int]) -> np.ndarray:
    mask = np.zeros((size, size), bool)
    mask[box[1] : box[1] + box[3], box[0] : box[0] + box[2]] = True
    return mask


HOLE = square(64, (20, 24, 12, 10))


@pytest.fixture(scope="module")
def head(phantom_corpus: Path) -> np.ndarray:
    """A CT of the phantoms, (64, 64)."""
    return np.asarray(ImageSet.open(phantom_corpus).where(modality="CT").pixels(0), np.uint8)


def asked(image: np.ndarray, kind: str, **more: Any) -> dict[str, Any]:
    return {"image": b64(image), "edit": kind, "where": CT, "seed": 5, "n": 2} | more


@pytest.mark.parametrize(
    ("body", "how"),
    [
        ({"edit": "upscale", "factor": 2}, Upscale(factor=2, seed=5, n=2)),
        ({"edit": "inpaint"}, Inpaint(area="mask", seed=5, n=2)),
        ({"edit": "vary", "strength": 0.3}, Vary(strength=0.3, seed=5, n=2)),
    ],
    ids=["upscale", "inpaint", "vary"],
)
def test_an_edit_is_that_of_the_stage(
    model_server: ServedModel, tiny_model: Path, head: np.ndarray, tmp_path: Path, body: dict[str, Any], how: Edit
):
    """To the bit what `phonybrains edit` makes of a set of this one picture, and the same when asked again."""
    given = block_means(head, 2) if isinstance(how, Upscale) else head
    folder = tmp_path / "set"
    (folder / "images").mkdir(parents=True)
    row = Row("images/0.png", write_png(folder / "images/0.png", given), "CT")
    if isinstance(how, Inpaint):
        row, body = write_mask(folder, row, HOLE), body | {"mask": b64(HOLE.astype(np.uint8) * 255)}
    write_metadata(folder, [row])
    made = ImageSet.open(edit(folder, tmp_path / "out", how, model=tiny_model, batch_size=1, show=False))
    body = asked(given, **({"kind": body["edit"]} | body))
    found, answer, _ = model_server.ask(body, EDIT)
    assert found == 200, answer
    assert (images_of(answer) == np.stack([made.pixels(draw) for draw in range(2)])).all()
    assert (pixels(base64.b64decode(answer["spread"])) == read_png(next((tmp_path / "out/spread").iterdir()))).all()
    assert (pixels(base64.b64decode(answer["before"])) == given).all()
    assert model_server.ask(body, EDIT)[1] == answer


def test_what_was_measured_stays(model_server: ServedModel, head: np.ndarray):
    """Outside the hole each pixel is the picture's; the block means of an upscaled one are the picture's pixels."""
    body = asked(head, "inpaint", mask=b64(HOLE.astype(np.uint8) * 255))
    made = images_of(model_server.ask(body, EDIT)[1])
    assert (made[:, ~HOLE] == head[~HOLE]).all()
    assert (made[:, HOLE] != head[HOLE]).any()
    small = block_means(head, 4)
    made = images_of(model_server.ask(asked(small, "upscale", factor=4), EDIT)[1])
    assert all((block_means(image, 4) == small).all() for image in made)
    assert (made[0] != made[1]).any()


def test_a_mask_may_be_of_one_bit(model_server: ServedModel, head: np.ndarray):
    """As most programs keep one: it fills what the same mask of eight bits does. A picture of one bit is none."""
    one_bit = b64(HOLE)
    found, answer, _ = model_server.ask(asked(head, "inpaint", mask=one_bit), EDIT)
    assert found == 200, answer
    assert answer == model_server.ask(asked(head, "inpaint", mask=b64(HOLE.astype(np.uint8) * 255)), EDIT)[1]
    assert model_server.ask({**asked(head, "vary"), "image": one_bit}, EDIT)[0] == 400


def test_every_png_says_that_it_is_edited(model_server: ServedModel, head: np.ndarray, tmp_path: Path):
    """Synthetic, which edit, of which file, with which seed; IPTC's type for edits; not that it shows no patient."""
    (tmp_path / "head.png").write_bytes(as_png(head))
    answer = model_server.ask(asked(head, "vary"), EDIT)[1]
    for png in (answer["data"][1]["b64_json"], answer["spread"]):
        texts = texts_of(base64.b64decode(png))
        facts = texts["phonybrains"]
        assert facts["synthetic"] is True
        assert facts["digitalSourceType"] == "compositeWithTrainedAlgorithmicMedia"
        assert (facts["edit"], facts["strength"], facts["seed"]) == ("vary", 0.5, 5)
        assert facts["edit_of_sha256"] == sha256_file(tmp_path / "head.png")
        assert facts["conditions"]["modality"] == "CT"
        assert "digitalsourcetype/compositeWithTrainedAlgorithmicMedia" in texts["XML:com.adobe.xmp"]
        assert "not measured" in texts["Description"]
        assert "no patient" not in texts["Description"]
    assert texts_of(base64.b64decode(answer["data"][1]["b64_json"]))["phonybrains"]["index"] == 1
    assert facts["spread_over"] == 2
    assert "This detail was not measured" in answer["note"]


def test_pictures_of_all_kinds_become_what_the_model_takes(model_server: ServedModel, head: np.ndarray):
    """Colour becomes luminance, 12 bits in 16 fill the range, what is oblong gets black beside it, aspect kept."""

    def shown(content: bytes) -> np.ndarray:
        connection = http.client.HTTPConnection(model_server.base.removeprefix("http://"))
        connection.request("POST", PICTURE, json.dumps({"image": b64(content)}), {"Content-Type": "application/json"})
        response = connection.getresponse()
        assert (response.status, response.headers["cache-control"]) == (200, "no-store")
        return pixels(response.read())

    assert (shown(as_png(head)) == head).all()
    colour = np.stack([head, head // 2, head // 4], axis=2)
    assert (shown(as_png(colour)) == np.asarray(Image.fromarray(colour).convert("L"))).all()
    deep = np.rint(head.astype(float) / 255 * 4095).astype(np.uint16)
    assert (shown(as_png(deep)) == head).all()
    oblong = shown(as_png(np.full((100, 200), 90, np.uint8)))
    assert (oblong[16:48] == 90).all()
    assert (oblong[:16] == 0).all()
    assert (oblong[48:] == 0).all()
    jpeg = io.BytesIO()
    Image.fromarray(head).save(jpeg, format="JPEG", quality=95)
    assert np.abs(shown(jpeg.getvalue()).astype(int) - head).mean() < 2


def bomb() -> bytes:
    """A small file of many pixels."""
    buffer = io.BytesIO()
    Image.new("1", (30_000, 30_000)).save(buffer, format="PNG")
    return buffer.getvalue()


PLAIN = np.zeros((64, 64), np.uint8)
NOISE = np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8)
MASK = b64(HOLE.astype(np.uint8) * 255)


@pytest.mark.parametrize(
    ("change", "expected", "param", "words"),
    [
        ({"image": "§"}, 400, "image", "not base64"),
        ({"image": b64(b"no picture")}, 400, "image", "no PNG or JPEG"),
        ({"image": b64(as_png(NOISE)[:900])}, 400, "image", "damaged or truncated"),
        ({"image": b64(bomb())}, 400, "image", "30000×30000 pixels are more than the most, 4,194,304"),
        ({"image": b64(b"\x89PNG" + bytes(8 * 2**20))}, 413, "image", "may have 8388608"),
        ({"edit": "denoise"}, 400, "edit", "'upscale', 'inpaint' or 'vary'"),
        ({"edit": None}, 400, "edit", "Missing required parameter"),
        ({"where": {"modality": "PET"}}, 400, "where", "'PET' is not known"),
        ({"where": {}}, 400, "where", "Say the modality"),
        ({"where": {"modality": "CT", "age_years": 500}}, 400, "where", "outside what the model has seen"),
        ({"edit": "upscale", "factor": 3}, 400, "factor", "2 or 4"),
        ({"edit": "vary", "strength": 0}, 400, "strength", "greater than 0"),
        ({"edit": "vary", "strength": 1.5}, 400, "strength", "less than or equal to 1"),
        ({"edit": "vary", "factor": 2}, 400, "factor", "for upscale, not for vary"),
        ({"n": 9}, 400, "n", "less than or equal to 8"),
        ({"seed": -1}, 400, "seed", "greater than or equal to 0"),
        ({"colour": 1}, 400, "colour", "Unknown parameter"),
        ({"edit": "inpaint"}, 400, "mask", "Paint one"),
        ({"edit": "inpaint", "mask": b64(PLAIN)}, 400, "mask", "empty"),
        ({"edit": "inpaint", "mask": b64(PLAIN + 255)}, 400, "mask", "whole picture"),
        ({"edit": "inpaint", "mask": b64(PLAIN[:32] + 255)}, 400, "mask", "64×32; this model takes 64×64"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_bad_requests_get_a_reason(
    model_server: ServedModel, change: dict[str, Any], expected: int, param: str | None, words: str
):
    """4xx in the format of errors of all requests, with the parameter and what is possible, and nothing is drawn."""
    body = {name: value for name, value in (asked(PLAIN, "vary") | change).items() if value is not None}
    found, content, _ = model_server.ask(body, EDIT)
    assert (found, content["error"]["param"]) == (expected, param), content
    assert words in content["error"]["message"]


def test_other_routes_take_no_large_bodies(model_server: ServedModel):
    """The limit is raised for edits alone, and so far that a picture of 8 MB goes in as base64."""
    port = int(model_server.base.rpartition(":")[2])
    head = f"POST {EDIT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {12 * 2**20 + 1}\r\n\r\n"
    assert status(port, head.encode()) == 413
    assert model_server.ask(b" " * 70_000)[0] == 413
    assert model_server.ask({"image": "x" * 70_000}, PICTURE)[1]["error"]["param"] == "image"


def test_who_hangs_up_ends_the_edit_between_two_steps(model_server: ServedModel, head: np.ndarray):
    """Its draws leave the queue, and others are drawn meanwhile."""
    connection = http.client.HTTPConnection(model_server.base.removeprefix("http://"))
    body = asked(head, "inpaint", mask=MASK, n=8)
    connection.request("POST", EDIT, json.dumps(body), {"Content-Type": "application/json"})
    until(lambda: model_server.waiting() > 0)
    assert model_server.ask({"prompt": "CT", "steps": 1})[0] == 200
    connection.close()
    until(lambda: model_server.waiting() == 0)


def test_an_edit_counts_as_work(tiny_model: Path, head: np.ndarray):
    """Draws × steps × what a step costs, against the budget of all requests: 413 beyond it."""
    context = open_context(tiny_model, "", budget=10)
    with TestClient(make_app(context, local=False)) as client:
        most = asked(head, "inpaint", mask=MASK, n=8)
        refused = client.post(EDIT, json=most)
        assert (refused.status_code, refused.json()["error"]["code"]) == (413, "work_limit_exceeded")
        assert client.post(EDIT, json=asked(head, "vary", n=1)).status_code == 200
        context.batcher.stop()
        assert client.post(EDIT, json=asked(head, "vary", n=1)).status_code == 503
    context.batcher.close()


def test_an_edit_gives_others_their_turn(model: LatentDiffusion):
    """On one worker, a picture is generated while an edit is still under way: it stops between its steps."""
    generated = Event()

    def paint(pause: Callable[[], None]) -> np.ndarray:
        for _ in range(3000):
            pause()
            if generated.is_set():
                return PLAIN
            time.sleep(0.01)
        raise TimeoutError("nobody else got a turn")

    async def both() -> list[np.ndarray]:
        batcher, sampling = Batcher(model), model.settle(Sampling(steps=2))
        assert batcher.workers == 1
        order = Order(0, 0, model.ask([0], CT, 0)[0], sampling)
        edit = asyncio.ensure_future(batcher.generate([replace(order, edited=Edited(paint, 1.0, {}))], client="editor"))
        await asyncio.sleep(0.1)
        await batcher.generate([order], client="other")
        assert not edit.done()
        generated.set()
        return await edit

    assert (asyncio.run(both())[0] == PLAIN).all()


def test_a_compiled_model_is_joined_by_one_that_encodes(tiny_model: Path, monkeypatch: pytest.MonkeyPatch):
    """It is loaded for the first edit, once however many ask at that moment, and from the folder that is served."""
    context = open_context(tiny_model, "")
    served, loaded, load = context.model, [], LatentDiffusion.load
    assert context.editor() is served
    context.model = object()  # type: ignore[assignment]  # of no kind that has an encoder
    monkeypatch.setattr(LatentDiffusion, "load", lambda *where: loaded.append(where) or load(*where))
    with ThreadPoolExecutor(4) as pool:
        editors = list(pool.map(lambda _: context.editor(), range(4)))
    assert len(loaded) == 1
    assert all(editor is editors[0] for editor in editors)
    assert editors[0].size == served.size
    context.batcher.close()


def test_the_token_is_asked_for(tiny_model: Path):
    """A locked server edits for nobody else; the page itself says nothing but what the model is."""
    with TestClient(make_app(open_context(tiny_model, "secret7"), local=False)) as client:
        assert client.get("/edit").status_code == 200
        for path in (EDIT, PICTURE):
            assert client.post(path, json=asked(PLAIN, "vary")).status_code == 401


def test_work_in_steps_goes_on_only_when_it_is_asked_to():
    """Between two items nothing is done; closed, the work ends at its pause; its errors come out."""
    done: list[int] = []
    ended: list[bool] = []

    def work(pause: Any) -> str:
        try:
            for step in range(3):
                pause()
                done.append(step)
        finally:
            ended.append(True)
        return "whole"

    steps = in_steps(work)
    assert [next(steps), list(done), next(steps), list(done)] == [None, [], None, [0]]
    steps.close()
    assert (done, ended) == ([0], [True])
    assert list(in_steps(work)) == [None, None, None, "whole"]
    with pytest.raises(ZeroDivisionError):
        list(in_steps(lambda pause: 1 / 0))
