"""Send a folder of DICOM files to a PACS, each image once, with a ledger beside the folder of what it has confirmed."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from ..errors import ConfigError, PeerError, SourceError
from ..files import only_writer
from ..pacs.address import PeerAddress, parse_address
from ..pacs.asking import connect, images_of
from ..pacs.peer import UIDS, Stored
from ..progress import progress_bars
from ..record import sha256_file
from ..wording import count_of

HEADER = [*UIDS.values(), "SOPClassUID"]
COLUMNS = ("time", "peer", "instance", "outcome")
SENT, THERE = "sent", "was there"


@dataclass(frozen=True)
class Delivery:
    """What became of a folder's images: how many there are, and how many were sent now, as the others were there.

    doubt: why the PACS does not say what it has, so that the ledger says what was there before.
    """

    images: int
    sent: int
    ledger: Path
    doubt: str = ""

    def __str__(self) -> str:
        by = f", counted by the ledger, as the PACS does not say what it has ({self.doubt})" if self.doubt else ""
        before = f", {self.images - self.sent} were there before{by}" if self.sent < self.images else ""
        return f"{count_of(self.images, 'image')}: {self.sent} sent{before}; each is in {self.ledger.name}"


def send(folder: str | Path, address: str, *, show: bool = True) -> Delivery:
    """Send all DICOM files below a folder to a PACS, by C-STORE (pacs://) or STOW-RS (dicomweb://).

    Reads   folder: what is no DICOM file is passed over
    Writes  <folder>.sent.csv, for its owner alone: time, peer, SOP instance UID and outcome of each image
    Raises  ConfigError for an address that is none; SourceError where there is nothing to send, or two files of one
            SOP instance UID differ; PeerError if the PACS cannot be reached, refuses images, is full or breaks off.

    Sent is what the PACS has answered success for. It is asked first what it has (C-FIND, QIDO-RS); where it does not
    answer that, the ledger counts. So the same call goes on where one was stopped, and sends nothing twice.
    """
    folder, to = Path(folder), recipient(address)
    with only_writer(_existing(folder)):
        files = _dicom_files(folder)
        ledger = folder.resolve().with_name(f"{folder.resolve().name}.sent.csv")
        noted = _noted(ledger, to.name)
        there, doubt = noted, ""
        try:
            there = _there(to, files)
        except PeerError as error:  # it may take what it does not let be asked for; what else is wrong shows then
            doubt = str(error)
        for image in sorted(there - noted):
            _note(ledger, to.name, image, THERE)
        missing = [file for file in files if file.uids[-1] not in there]
        if missing:
            _send_all(to, missing, len(files), ledger, show)
    return Delivery(len(files), len(missing), ledger, doubt)


def recipient(address: str) -> PeerAddress:
    """The PACS of an address. Raises ConfigError for one that cannot be sent to."""
    to = parse_address(address)
    if to.query:
        raise ConfigError(f"{to.name}: to send takes no {', '.join(to.query)}: that is for import. Leave it out.")
    return to


def _existing(folder: Path) -> Path:
    if not folder.is_dir():
        raise SourceError(f"{folder}: no such folder. Export there first: phonybrains export SET --to dicom --out …")
    return folder


def _dicom_files(folder: Path) -> list[Stored]:
    """The images of a folder in order of their paths, each SOP instance once."""
    found: dict[str, Stored] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")):
        try:
            header = dcmread(path, stop_before_pixels=True, specific_tags=HEADER)
            *uids, kind = (str(header[name].value) for name in HEADER)
            file = Stored(path, kind, str(header.file_meta.TransferSyntaxUID), tuple(uids))
        except InvalidDicomError:
            continue
        except (KeyError, AttributeError):
            if path.name.upper() == "DICOMDIR":
                continue
            raise SourceError(
                f"{path}: a DICOM file without its UIDs, which no PACS takes. Remove or mend it."
            ) from None
        first = found.setdefault(uids[-1], file)
        if first is not file and sha256_file(first.path) != sha256_file(path):
            raise SourceError(f"{first.path} and {path} differ, but have one SOPInstanceUID. Remove one of them.")
    if not found:
        raise SourceError(f"{folder}: no DICOM file is in it. Export with --to dicom first.")
    return list(found.values())


def _there(to: PeerAddress, files: Sequence[Stored]) -> set[str]:
    """Which of the images the PACS has."""
    with connect(to, ()) as peer:
        series = dict.fromkeys(file.uids[:2] for file in files)
        listed = {image for of in series for image in images_of(peer, of)}
    return listed & {file.uids[-1] for file in files}


def _send_all(to: PeerAddress, files: Sequence[Stored], total: int, ledger: Path, show: bool) -> None:
    """Send, and note each answer as it comes. Raises PeerError in the end if images were refused."""
    done, refused = total - len(files), dict[Path, str]()
    try:
        with connect(to, files) as peer, progress_bars(show) as bar:
            task = bar.add_task(f"to {to.host}", total=total, completed=done, unit="images")
            for file, refusal in peer.store(files):
                _note(ledger, to.name, file.uids[-1], refusal or SENT)
                refused |= {file.path: refusal} if refusal else {}
                done += not refusal
                bar.update(task, completed=done, note=f"{len(refused)} refused" if refused else "")
    except PeerError as error:
        said = f"Sent: {done} of {count_of(total, 'image')}. Give the same command again to go on."
        raise PeerError(f"{error} {said}") from None
    if refused:
        first, why = next(iter(refused.items()))
        said = f"of {count_of(total, 'image')}, {count_of(len(refused), 'was', 'were')} refused"
        said += f", the first is {first.name}: {why}"
        raise PeerError(f"{to.name}: {said}. All of them: {ledger}")


def _note(ledger: Path, peer: str, image: str, outcome: str) -> None:
    if not ledger.exists():
        ledger.touch(0o600)
    with ledger.open("a", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        if not file.tell():
            rows.writerow(COLUMNS)
        rows.writerow((datetime.now(UTC).isoformat(timespec="seconds"), peer, image, outcome))


def _noted(ledger: Path, peer: str) -> set[str]:
    """What a PACS has confirmed by the ledger; a line that a stop has torn counts for nothing."""

    def rows() -> Iterator[dict[str, str]]:
        if ledger.exists():
            with ledger.open(newline="", encoding="utf-8") as file:
                yield from csv.DictReader(file)

    return {row["instance"] for row in rows() if row.get("peer") == peer and row.get("outcome") in (SENT, THERE)}
