"""Batches from tables and from ELMO: what is read, and what is refused before anything is sent."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from lxml import etree

from tests.unit.credential_samples import sample_credential
from vitne.credentials.elmo.writing import SALT_BYTES, Node, write
from vitne.errors import InvalidArgument
from vitne.identifiers import LearnerId
from vitne_api.credential.v1 import credential_pb2
from vitne_client import AchievementKey, batch_from_csv, batch_from_elmo

HEAD = "item_id;scheme;value;given_name;family_name;achievement_id;awarded_on;retention"
LINE = "1;no.national_id;01810112345;Kari;Nordmann;01930f6e-7a00-7000-8000-00000000c001;2026-11-20;archive"
ERASABLE, ARCHIVE = credential_pb2.RETENTION_CLASS_ERASABLE, credential_pb2.RETENTION_CLASS_ARCHIVE


def table(folder: Path, *lines: str, encoding: str = "utf-8") -> Path:
    path = folder / "results.csv"
    path.write_text("\n".join(lines) + "\n", encoding)
    return path


def test_a_line_is_an_item(tmp_path: Path) -> None:
    head = f"{HEAD};birth_date;achievement_version;grade;expires_on"
    full = f"{LINE};1981-01-01;3;Bestått;2030-01-01"
    plain = f"{LINE.replace('1;', '2;', 1).replace('archive', 'erasable')};;;;"
    # As a spreadsheet writes it, with a byte order mark.
    first, second = batch_from_csv(table(tmp_path, head, full, plain, encoding="utf-8-sig"))
    assert (first.item_id, first.issuance.retention, first.issuance.achievement_version) == ("1", ARCHIVE, 3)
    assert (first.issuance.grade, first.issuance.expires_on) == ("Bestått", "2030-01-01")
    assert (first.issuance.learner.given_name, first.issuance.learner.birth_date) == ("Kari", "1981-01-01")
    assert (second.item_id, second.issuance.retention, second.issuance.achievement_version) == ("2", ERASABLE, 1)
    assert (second.issuance.grade, second.issuance.learner.birth_date) == ("", "")


def test_columns_may_be_in_any_order_and_between_other_characters(tmp_path: Path) -> None:
    names, values = HEAD.split(";"), LINE.split(";")
    path = table(tmp_path, "\t".join(reversed(names)), "\t".join(reversed(values)))
    assert batch_from_csv(path, delimiter="\t")[0].issuance.learner.family_name == "Nordmann"


@pytest.mark.parametrize(
    ("lines", "reason", "told"),
    [
        ([HEAD.replace(";retention", ""), LINE], "CSV_COLUMNS", "retention"),
        ([f"{HEAD};karakter", f"{LINE};A"], "CSV_COLUMNS", "karakter"),
        ([HEAD, LINE, f"{LINE};more"], "CSV_LINE", "line 3"),
        ([HEAD, LINE.rpartition(";")[0]], "CSV_LINE", "line 2"),
        ([HEAD, LINE.replace("Kari", " ")], "CSV_LINE", "given_name"),
        ([HEAD, LINE.replace("archive", "for ever")], "CSV_LINE", "retention"),
        ([f"{HEAD};achievement_version", f"{LINE};first"], "CSV_LINE", "achievement_version"),
        ([HEAD, LINE, LINE.replace("Kari", '"Kari')], "CSV_LINE", "line 3"),
        ([HEAD, LINE, LINE], "CSV_DUPLICATE", "line 3, column item_id has what line 2 has"),
        ([HEAD, LINE.replace("2026-11-20", "20.11.2026")], "CSV_LINE", "line 2, column awarded_on"),
        ([f"{HEAD};birth_date", f"{LINE};1981-02-30"], "CSV_LINE", "line 2, column birth_date"),
        ([HEAD, LINE.replace("01930f6e", "1930f6e")], "CSV_LINE", "line 2, column achievement_id"),
        ([f"{HEAD};grade", f"{LINE};{'A' * 65}"], "CSV_LINE", "line 2, column grade"),
        ([f"{HEAD};achievement_version", f"{LINE};0"], "CSV_LINE", "line 2, column achievement_version"),
        ([""], "CSV_COLUMNS", "item_id"),
    ],
    ids=[
        *("missing", "unknown", "more", "fewer", "empty", "retention", "version", "quotation", "twice"),
        *("date", "no day", "id", "long", "no version", "nothing"),
    ],
)
def test_what_is_wrong_is_said_by_line_and_never_repeated(
    tmp_path: Path, lines: list[str], reason: str, told: str
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        batch_from_csv(table(tmp_path, *lines))
    assert caught.value.reason == reason
    assert told in str(caught.value)
    assert "Nordmann" not in str(caught.value)
    assert "rule: " in str(caught.value)
    assert caught.value.remedy


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    lines = [
        LINE.replace("Kari", "").replace("archive", "for ever"),
        LINE.replace("1;", "2;", 1).replace("2026-11-20", "in autumn"),
        LINE.rpartition(";")[0],
        LINE.replace("1;", "2;", 1),
    ]
    with pytest.raises(InvalidArgument) as caught:
        batch_from_csv(table(tmp_path, HEAD, *lines))
    first, *faults = caught.value.message.splitlines()
    assert first == "5 faults:"
    assert [fault.partition(" (rule: ")[0].strip() for fault in faults] == [
        "line 2, column given_name is empty",
        "line 2, column retention has another value",
        "line 3, column awarded_on has another form",
        "line 4 has not as many values as there are columns",
        "line 5, column item_id has what line 3 has",
    ]
    assert "autumn" not in str(caught.value)


def test_of_many_faults_the_first_are_named_and_the_others_counted(tmp_path: Path) -> None:
    lines = [LINE.replace("1;", f"{number};", 1).replace("archive", "x") for number in range(25)]
    with pytest.raises(InvalidArgument) as caught:
        batch_from_csv(table(tmp_path, HEAD, *lines))
    told = str(caught.value)
    assert "25 faults" in told
    assert "line 21, column retention" in told
    assert "line 22" not in told
    assert "and 5 more" in told


def test_a_file_in_another_encoding_says_so(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="UTF-8") as caught:
        batch_from_csv(table(tmp_path, HEAD, LINE.replace("Kari", "Åse"), encoding="cp1252"))
    assert caught.value.reason == "CSV_ENCODING"
    assert caught.value.__cause__ is None


# --- ELMO -------------------------------------------------------------------------------------------------


def document(**learner: object) -> bytes:
    root = write([Node(sample_credential(**learner))], bytes(SALT_BYTES), datetime(2026, 11, 21, 10, tzinfo=UTC))
    return etree.tostring(root, encoding="utf-8")


def test_passed_results_of_what_is_known_are_items() -> None:
    credential = sample_credential()
    key = AchievementKey(str(credential.achievement.id), 2, ARCHIVE)
    asked: list[tuple[str, str]] = []

    def known(kind: str, value: str) -> AchievementKey | None:
        asked.append((kind, value))
        return key if value == str(credential.achievement.id) else None

    (item,) = batch_from_elmo(document(), known)
    assert asked
    assert item.item_id == f"{credential.achievement.id} {credential.awarded_on}"
    assert item.issuance.achievement_id == key.achievement_id
    assert (item.issuance.achievement_version, item.issuance.retention) == (2, ARCHIVE)
    assert item.issuance.awarded_on == credential.awarded_on.isoformat()
    assert item.issuance.grade == (credential.grade or "")
    assert credential.learner.id is not None
    assert item.issuance.learner.value == credential.learner.id.value
    assert item.issuance.learner.family_name == credential.learner.family_name


def test_what_is_not_known_or_not_passed_is_passed_over() -> None:
    assert batch_from_elmo(document(), lambda _kind, _value: None) == []
    failed = document().replace(b">passed<", b">failed<")
    assert failed != document()
    assert batch_from_elmo(failed, lambda _kind, _value: AchievementKey("x", 1, ERASABLE)) == []


def test_a_learner_without_an_identifier_is_named_by_the_caller() -> None:
    data = document().replace(b'type="nationalIdentifier"', b'type="esi"')

    def known(_kind: str, _value: str) -> AchievementKey:
        return AchievementKey("x", 1, ERASABLE)

    with pytest.raises(InvalidArgument) as caught:
        batch_from_elmo(data, known)
    assert caught.value.reason == "LEARNER_UNNAMED"
    (item,) = batch_from_elmo(data, known, learner=LearnerId("provider.local_id", "1042"))
    assert item.issuance.learner.value == "1042"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"<elmo/>", "NOT_ELMO"),
        (b"<!DOCTYPE elmo [<!ENTITY x 'y'>]><elmo>&x;</elmo>", None),
        (document().replace(b"specifies", b"specified"), "ELMO_MALFORMED"),
    ],
    ids=["other", "entities", "malformed"],
)
def test_a_hostile_or_broken_document_is_refused(data: bytes, reason: str | None) -> None:
    with pytest.raises(InvalidArgument) as caught:
        batch_from_elmo(data, lambda _kind, _value: AchievementKey("x", 1, ERASABLE))
    assert reason is None or caught.value.reason == reason
