"""Which logs and witnesses are trusted, and how many of them it takes (C2SP tlog-policy).

A policy is a file that a relying party keeps, a log's keys and its witnesses' among
it. It alone decides whether a checkpoint counts; when it was seen is what the
witnesses of the quorum say.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from vitne.errors import InvalidArgument, PermissionDenied
from vitne.merkle.cosignatures import CosignerKey, cosignatures
from vitne.merkle.lines import from_decimal
from vitne.merkle.notes import Checkpoint, NamedKey, NoteKey, open_note
from vitne.merkle.succession import Lineage, within

#: Most lines that define something; the specification asks for 32 logs, 32 witnesses and 32 groups at least.
MAX_DEFINITIONS: Final = 512

#: Reasons of :meth:`Policy.open`.
LOG_KEY_ENDED: Final = "LOG_KEY_ENDED"
LOG_KEY_RETIRED: Final = "LOG_KEY_RETIRED"

_NONE: Final = "none"
#: Surrogates are no characters: a text has them where somebody decoded what was none.
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")
_BLANKS: Final = re.compile(r"[ \t]+")


@dataclass(frozen=True, slots=True)
class Witnessed:
    """A checkpoint that a policy accepts.

    Attributes:
        checkpoint: as the log signed it.
        log: the key that signed it.
        cosigned: which of the policy's witnesses cosigned it, by their names in the policy, and when.
        seen: at latest then it existed: when the quorum was complete; None where the quorum is ``none``.
        before: leaves of the logs before this one, as a statement of succession says it.
    """

    checkpoint: Checkpoint
    log: NoteKey
    cosigned: Mapping[str, datetime]
    seen: datetime | None
    before: int = 0


@dataclass(frozen=True, slots=True)
class _Group:
    threshold: int
    members: Sequence[str]


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy that was read.

    Attributes:
        logs: keys of the logs, whose names are the origins.
        witnesses: keys of the witnesses, by the policy's names for them.
        groups: of witnesses and groups.
        quorum: name of what has to have cosigned; ``none``: nobody.
        urls: where a log or witness is reached, by its key's name, where the policy says.
        lineage: which logs and keys follow which; of a policy that was read: none.
        retired: keys among the logs' that are believed by the word of those that followed them only: for the tree with
            which theirs ended, and by :meth:`open_retired` for what is proved to be the beginning of that.
    """

    logs: Sequence[NoteKey]
    witnesses: Mapping[str, CosignerKey]
    groups: Mapping[str, _Group]
    quorum: str
    urls: Mapping[str, str]
    lineage: Lineage = field(default=Lineage(()))
    retired: frozenset[NoteKey] = frozenset()

    @classmethod
    def read(cls, data: bytes) -> Policy:
        """Read a policy file's octets, which need not be UTF-8: those that are not stand as ``\\xe9`` (Character set).

        Raises:
            InvalidArgument: as :meth:`parse`.
        """
        return cls.parse(decode_policy(data))

    @classmethod
    def parse(cls, text: str) -> Policy:
        """Read a policy file's text.

        Raises:
            InvalidArgument: ``BAD_LOG_POLICY``, ``BAD_NOTE_KEY``.
        """
        reader = _Reader()
        lines = text.split("\n")
        if len(lines) > MAX_DEFINITIONS:
            raise _bad_policy(f"it has more than {MAX_DEFINITIONS} lines")
        for number, line in enumerate(lines, 1):
            if _CONTROL.search(line):
                raise _bad_policy(f"line {number} holds a control character other than tab and newline, or half of one")
            words = [word for word in _BLANKS.split(line.strip(" \t")) if word]
            if not words or words[0].startswith("#"):
                continue
            try:
                reader.take(words[0], words[1:])
            except InvalidArgument as error:
                told = f"line {number}: {error.message}"
                raise InvalidArgument(error.reason, told, rule=error.rule, remedy=error.remedy) from error
        return reader.policy()

    @classmethod
    def of_log(cls, key: NoteKey) -> Policy:
        """One log, no witnesses: whoever has nothing but the log's key believes the log."""
        return cls([key], {}, {}, _NONE, {})

    def following(self, statements: Sequence[str]) -> Policy:
        """The same policy, with what follows from its logs by statements of succession, in their order.

        The witnesses and the quorum stay: whom they take for the next log is theirs to decide.

        Raises:
            VitneError: as :meth:`Lineage.follow`.
        """
        if not statements:
            return self
        lineage = Lineage.follow(self.logs, statements)
        return replace(self, logs=lineage.keys, lineage=lineage)

    def without_witnesses(self) -> Policy:
        """The same logs, whose own word is enough."""
        return replace(self, witnesses={}, groups={}, quorum=_NONE)

    def open(self, note: str | bytes) -> Witnessed:
        """Verify a checkpoint: signed by one of the logs, in whose name it is, and cosigned by the quorum.

        A key that was succeeded counts for no tree beyond its end.

        Raises:
            InvalidArgument: as :func:`~vitne.merkle.notes.open_note`, ``BAD_CHECKPOINT``, ``BAD_COSIGNATURE``;
                ``LOG_KEY_ENDED``; ``LOG_KEY_RETIRED``: see :meth:`open_retired`.
            PermissionDenied: ``QUORUM_MISSING``.
        """
        log, checkpoint = self._signed(note)
        if log in self.retired and checkpoint != self.lineage.ended.get(log):
            raise InvalidArgument(
                LOG_KEY_RETIRED,
                f"{checkpoint.size} leaves are signed by a key alone that counts no longer",
                field="checkpoint",
                rule="what such a key signed stands by the word of the key that followed it (docs/decisions/0032)",
                remedy="ask for a newer checkpoint; of a bundle: collect it again",
            )
        return self._cosigned(note, log, checkpoint)

    def open_retired(self, note: str | bytes) -> tuple[Witnessed, Checkpoint]:
        """Verify a checkpoint by a key that counts no longer; answers also the tree with which that key's word ended.

        Whoever calls this has the log prove that the checkpoint's tree is the beginning of that one.

        Raises:
            InvalidArgument, PermissionDenied: as :meth:`open`, but for ``LOG_KEY_RETIRED``.
        """
        log, checkpoint = self._signed(note)
        return self._cosigned(note, log, checkpoint), self.lineage.ended.get(log, checkpoint)

    def _signed(self, note: str | bytes) -> tuple[NoteKey, Checkpoint]:
        """The log's key by which a checkpoint counts, one that goes on rather than one that is retired; and it."""
        opened = open_note(note, self.logs)
        checkpoint = Checkpoint.parse(opened.text)
        named = [key for key in opened.signers if key.name == checkpoint.origin]
        if not named:
            raise InvalidArgument(
                "BAD_CHECKPOINT",
                "it is of another origin than the key's that signed it",
                rule="C2SP tlog-policy: a log key's name is the log's origin",
                remedy="ask the log's operator",
            )
        counting = [key for key in named if within(self.lineage.ended.get(key), checkpoint)]
        if not counting:
            raise key_ended(checkpoint)
        return min(counting, key=lambda key: key in self.retired), checkpoint

    def _cosigned(self, note: str | bytes, log: NoteKey, checkpoint: Checkpoint) -> Witnessed:
        before = self.lineage.before.get(checkpoint.origin, 0)
        times = cosignatures(note, self.witnesses.values())
        cosigned = {name: times[key] for name, key in self.witnesses.items() if key in times}
        if self.quorum == _NONE:
            return Witnessed(checkpoint, log, cosigned, None, before)
        seen = self._since(self.quorum, cosigned)
        if seen is None:
            raise PermissionDenied(
                "QUORUM_MISSING",
                f"of the policy's witnesses only these cosigned: {', '.join(sorted(cosigned)) or 'none'}",
                field="checkpoint",
                rule=f"the policy's quorum: {self.quorum}",
                remedy="ask for a checkpoint that was witnessed; if there is none for long, ask the log's operator why",
            )
        return Witnessed(checkpoint, log, cosigned, seen, before)

    def _since(self, name: str, cosigned: Mapping[str, datetime]) -> datetime | None:
        """When a witness or group was complete; None: it is not."""
        group = self.groups.get(name)
        if group is None:
            return cosigned.get(name)
        times = sorted(time for member in group.members if (time := self._since(member, cosigned)) is not None)
        return times[group.threshold - 1] if len(times) >= group.threshold else None


def decode_policy(data: bytes) -> str:
    """The text of a policy file: different octets stay different, also where they are not UTF-8 (Character set)."""
    return data.decode("utf-8", "backslashreplace")


class _Reader:
    """Takes a policy's lines one by one."""

    def __init__(self) -> None:
        self._logs: list[NoteKey] = []
        self._witnesses: dict[str, CosignerKey] = {}
        self._groups: dict[str, _Group] = {}
        self._quorum: str | None = None
        self._urls: dict[str, str] = {}
        self._members: set[str] = set()

    def take(self, keyword: str, words: Sequence[str]) -> None:
        """Take a line's keyword and what follows it."""
        if keyword == "log" and len(words) in (1, 2):
            key = NoteKey.parse(words[0])
            self._once(key, self._logs)
            self._logs.append(key)
            self._place(key, words[1:])
        elif keyword == "witness" and len(words) in (2, 3):
            cosigner = CosignerKey.parse(words[1])
            self._once(cosigner, self._witnesses.values())
            self._witnesses[self._new(words[0])] = cosigner
            self._place(cosigner, words[2:])
        elif keyword == "group" and len(words) >= 3:
            self._take_group(words[0], words[1], words[2:])
        elif keyword == "quorum" and len(words) == 1:
            if self._quorum is not None:
                raise _bad_policy("it has a second quorum")
            if words[0] != _NONE:
                self._known(words[0])
            self._quorum = words[0]
        else:
            raise _bad_policy(f"a line that begins with {keyword[:16]!r} is none of log, witness, group and quorum")

    def policy(self) -> Policy:
        """What the lines came to."""
        if self._quorum is None:
            raise _bad_policy("it has no quorum")
        return Policy(self._logs, self._witnesses, self._groups, self._quorum, self._urls)

    def _take_group(self, name: str, threshold: str, members: Sequence[str]) -> None:
        for member in members:
            self._known(member)
            if member in self._members:
                raise _bad_policy(f"{member} is a member twice")
            self._members.add(member)
        least = {"all": len(members), "any": 1}.get(threshold)
        if least is None:
            least = from_decimal(threshold, _bad_policy)
        if not 1 <= least <= len(members):
            raise _bad_policy(f"a group of {len(members)} can't ask for {least}")
        self._groups[self._new(name)] = _Group(least, tuple(members))

    def _new(self, name: str) -> str:
        if name == _NONE or name in self._witnesses or name in self._groups:
            raise _bad_policy(f"the name {name} is taken")
        return name

    def _known(self, name: str) -> None:
        if name not in self._witnesses and name not in self._groups:
            raise _bad_policy(f"{name} is not defined on a line before")

    def _place(self, key: NamedKey, url: Sequence[str]) -> None:
        if url:
            self._urls[key.name] = url[0]

    @staticmethod
    def _once(key: NamedKey, known: Iterable[NamedKey]) -> None:
        if any(other.public_key == key.public_key for other in known):
            raise _bad_policy(f"the key of {key.name} is there twice")


def _bad_policy(why: str) -> InvalidArgument:
    return InvalidArgument(
        "BAD_LOG_POLICY",
        f"not a policy of a transparency log: {why}",
        rule="C2SP tlog-policy",
        remedy="compare it with the example of the specification, or in docs/log.md (Witness it)",
    )


def key_ended(checkpoint: Checkpoint) -> InvalidArgument:
    """The refusal of a checkpoint beyond the end of the key that signed it."""
    return InvalidArgument(
        LOG_KEY_ENDED,
        f"{checkpoint.size} leaves are signed by a key alone whose word ended before",
        field="checkpoint",
        rule="a statement of succession says up to which tree a key counts (docs/decisions/0021)",
        remedy="fetch the checkpoint again; if it stays so, keep it, and show it to the log's operator",
    )
