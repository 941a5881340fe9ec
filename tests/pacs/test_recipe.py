"""The recipe of docs/export.md, from phantoms to a PACS and back."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from phonybrains.imageset import ImageSet
from phonybrains.pacs.address import parse_address
from phonybrains.pacs.asking import connect, images_of, series_matching
from phonybrains.pacs.peer import IMAGES
from tests.support.in_turn import called
from tests.support.orthanc import Orthanc
from tests.support.places import ROOT

pytestmark = pytest.mark.needs("Orthanc")


def test_into_orthanc_in_five_minutes(server: Orthanc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The lines of the recipe work as they stand, with phantoms for `generate`.

    QIDO-RS finds each image, which says that it is synthetic, and what is imported again has the same pixels.
    """
    section = (ROOT / "docs/export.md").read_text(encoding="utf-8").partition("in five minutes\n")[2]
    found = re.search(r"```bash\n(.*?)```", section, re.DOTALL)
    assert found
    lines = [line for line in found[1].splitlines() if line.startswith("phonybrains ")]
    assert [line.split()[1] for line in lines] == ["generate", "export", "import"]
    monkeypatch.chdir(tmp_path)
    lines[0] = "phonybrains phantom -n 12 --out samples/"
    for line in lines:
        line = line.replace("4242", str(server.dicom_port)).replace("8042", str(server.web_port))
        assert called(*shlex.split(line)[1:]) == 0, line
    address = parse_address(server.web("?study_description=SYNTHETIC*"))
    with connect(address) as peer:
        kinds = [kind for series in series_matching(peer, address) for kind in images_of(peer, series).values()]
    assert sum(kind in IMAGES for kind in kinds) == 12
    for instance in server.rest("/instances"):
        assert server.rest(f"/instances/{instance}/tags")["0008,001c"]["Value"] == "YES"
    one, other = (ImageSet.open(tmp_path / name) for name in ("samples", "back"))
    assert sorted(map(one.content, range(len(one)))) == sorted(map(other.content, range(len(other))))
