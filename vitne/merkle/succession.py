"""How one log follows another, and one key of a log another: said once, by both keys (docs/decisions/0021).

A *statement of succession* is a signed note. It ends a log and names the one that goes on, or it
ends a key within a log (then both origins are the same)::

    vitne/log-succession/v1
    <old origin>
    <size of the old log, its closed leaf included; of a key: of the last tree that it answers for alone>
    <root of that tree, base64>
    <new origin>
    <verifier key (vkey) of the new origin>
    <leaves of all logs before that of the new origin>

Its digest is in a leaf under the new key, the first one of a new log: so the log answers for it, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from vitne.canonical import b64url, canonical_bytes, sha256
from vitne.errors import DataLoss, InvalidArgument
from vitne.merkle.leaves import KeyRecorded
from vitne.merkle.lines import from_decimal
from vitne.merkle.notes import NOTE_UNTRUSTED, Checkpoint, NoteKey, NoteSigner, open_note, sign_note, split_note
from vitne.merkle.resources import is_log_name, log_name

#: First line of every statement.
HEADER: Final = "vitne/log-succession/v1"
#: Where they are served, numbered from 1, below the prefix of the first log.
SUCCESSION_PATH: Final = "succession"
#: Most statements that are followed: one a year and some keys, for longer than anyone keeps a credential.
MAX_STATEMENTS: Final = 512

_LINES: Final = 7


@dataclass(frozen=True, slots=True)
class Succession:
    """What a statement says.

    Attributes:
        ended: the last tree of the old log; of a key that was replaced, the last that it answers for alone.
        key: the new one, whose name is the new origin.
        before: leaves of all logs before that of the new origin.
    """

    ended: Checkpoint
    key: NoteKey
    before: int

    @property
    def closes(self) -> bool:
        """Whether a log ends, rather than a key."""
        return self.key.name != self.ended.origin

    def text(self) -> str:
        """The note's text."""
        return f"{HEADER}\n{self.ended.text()}{self.key.name}\n{self.key.text}\n{self.before}\n"

    @classmethod
    def parse(cls, text: str) -> Succession:
        """Read a note's text; who signed it is :class:`Lineage`'s to say.

        Raises:
            InvalidArgument: ``BAD_SUCCESSION``, ``BAD_CHECKPOINT``, ``BAD_NOTE_KEY``.
        """
        lines = text.split("\n")
        if len(lines) != _LINES + 1 or lines.pop() or lines[0] != HEADER:
            raise _bad(f"it is not {_LINES} lines that begin with {HEADER}")
        key = NoteKey.parse(lines[5])
        if key.name != lines[4]:
            raise _bad("the new key's name is not the new origin")
        stated = cls(Checkpoint.parse("\n".join(lines[1:4]) + "\n"), key, from_decimal(lines[6], _bad))
        if stated.closes and not is_log_name(log_name(key.name)):
            raise InvalidArgument(
                "BAD_SUCCESSION",
                f"not a statement of succession: the last part of {key.name} is not what a log can be served under",
                field="succession",
                rule="a log that followed is served under the last part of its origin: letters, digits and -._~ "
                "(RFC 3986, section 2.3), and not . or ..",
                remedy="believe no log by this statement; its operator names the next log otherwise, origin/2027",
            )
        return stated


def state_succession(succession: Succession, old: NoteSigner, new: NoteSigner) -> str:
    """The statement, signed by both keys.

    Raises:
        InvalidArgument: ``BAD_SUCCESSION``: the keys are not those of the two logs, or are one key.
    """
    if old.key.name != succession.ended.origin or new.key != succession.key:
        raise _bad("it is signed by the keys of the two logs that it names")
    if old.key.public_key == new.key.public_key:
        raise _bad("the new key is the old one")
    return sign_note(succession.text(), [old, new])


def succession_leaf(statement: str) -> KeyRecorded:
    """The leaf by which the log names a statement: the new key, and the statement's digest.

    Raises:
        InvalidArgument: ``BAD_NOTE``, and as :meth:`Succession.parse`.
    """
    public = Succession.parse(split_note(statement)[0]).key.public_key
    # RFC 7638 for an Ed25519 key (RFC 8037): its required members, in their order.
    jwk = canonical_bytes({"crv": "Ed25519", "kty": "OKP", "x": b64url(public)})
    return KeyRecorded(sha256(jwk), 1, sha256(statement.encode()))


@dataclass(frozen=True, slots=True)
class Lineage:
    """The logs and keys that follow from those that are trusted.

    Attributes:
        keys: trusted ones and what followed them, oldest first.
        ended: where a key's word ended, by key: beyond that tree its signature alone counts for nothing.
        closed: the last trees of logs that ended, by origin.
        before: leaves of the logs before one, by its origin; where nothing is said: none.
        followed: which key followed one.
        statements: those that say so, in their order: each was signed by a trusted key or one that followed.
    """

    keys: tuple[NoteKey, ...]
    ended: Mapping[NoteKey, Checkpoint] = field(default_factory=dict)
    closed: Mapping[str, Checkpoint] = field(default_factory=dict)
    before: Mapping[str, int] = field(default_factory=dict)
    followed: Mapping[NoteKey, NoteKey] = field(default_factory=dict)
    statements: tuple[str, ...] = ()

    def heirs(self, key: NoteKey) -> set[NoteKey]:
        """The keys that followed a key, one after the other."""
        found: set[NoteKey] = set()
        while (following := self.followed.get(key)) is not None and following not in found:
            found.add(following)
            key = following
        return found

    @classmethod
    def follow(cls, keys: Iterable[NoteKey], statements: Iterable[str]) -> Lineage:
        """Follow statements from trusted keys, in order; those of logs that nobody here trusts are passed over.

        Raises:
            InvalidArgument: ``BAD_SUCCESSION``, ``BAD_NOTE``, ``BAD_NOTE_SIGNATURE``, ``NOTE_UNTRUSTED``: a statement
                is none, or was not signed by the new key.
            DataLoss: ``LOG_FORKED``: a log or key was given two successors, or places that contradict each other.
        """
        made = _Following(tuple(keys))
        for number, statement in enumerate(statements):
            if number == MAX_STATEMENTS:
                raise _bad(f"there are more than {MAX_STATEMENTS} statements")
            made.take(statement)
        return cls(tuple(made.keys), made.ended, made.closed, made.before, made.followed, tuple(made.statements))


def within(ended: Checkpoint | None, checkpoint: Checkpoint) -> bool:
    """Whether a checkpoint is one for which a key answers whose word ended with another; None: it goes on."""
    return ended is None or checkpoint.size < ended.size or checkpoint == ended


class _Following:
    """Takes statements one by one."""

    def __init__(self, trusted: Iterable[NoteKey]) -> None:
        self.keys: dict[NoteKey, None] = dict.fromkeys(trusted)
        self.ended: dict[NoteKey, Checkpoint] = {}
        self.closed: dict[str, Checkpoint] = {}
        self.before: dict[str, int] = {}
        self.followed: dict[NoteKey, NoteKey] = {}
        self.statements: list[str] = []
        self._stated: dict[NoteKey, Succession] = {}
        #: Origins of the logs that followed, by what they are called in addresses.
        self._named: dict[str, str] = {}

    def take(self, statement: str) -> None:
        stated = Succession.parse(split_note(statement)[0])
        old = [key for key in self.keys if key.name == stated.ended.origin and key != stated.key]
        # A signature of any of these that does not verify is a refusal, not a missing one.
        signers = open_note(statement, [*old, stated.key]).signers
        if stated.key not in signers:
            raise InvalidArgument(
                NOTE_UNTRUSTED,
                "the new key did not sign the statement of succession",
                rule="both keys sign it (docs/decisions/0021)",
                remedy="fetch it again from the log's own address",
            )
        ending = [key for key in old if key in signers]
        if not ending and stated.key not in self.keys:
            return
        for key in ending:
            self._end(key, stated)
        if ending:
            self._check_place(stated)
            # Two logs of one name would be served under one prefix.
            if stated.closes and self._named.setdefault(log_name(stated.key.name), stated.key.name) != stated.key.name:
                raise _bad(f"another log is called {log_name(stated.key.name)}, too")
        if self.before.setdefault(stated.key.name, stated.before) != stated.before:
            raise _forked(stated.key.name, "as many leaves before it as another statement says")
        self.keys[stated.key] = None
        self.statements.append(statement)

    def _end(self, key: NoteKey, stated: Succession) -> None:
        if self._stated.setdefault(key, stated) != stated:
            raise _forked(key.name, "one successor")
        self.followed[key] = stated.key
        self.ended[key] = stated.ended
        if stated.closes and self.closed.setdefault(key.name, stated.ended) != stated.ended:
            raise _forked(key.name, "one end")

    def _check_place(self, stated: Succession) -> None:
        """A log begins where the one before it ended; a key changes nothing about that."""
        known = self.before.get(stated.ended.origin)
        if known is not None and stated.before != known + (stated.ended.size if stated.closes else 0):
            raise _forked(stated.key.name, "its place behind the log before it")


def _bad(why: str) -> InvalidArgument:
    return InvalidArgument(
        "BAD_SUCCESSION",
        f"not a statement of succession: {why}",
        field="succession",
        rule="docs/decisions/0021: seven lines, signed by the old key and the new one",
        remedy="fetch it again from the log's own address",
    )


def _forked(origin: str, what: str) -> DataLoss:
    return DataLoss(
        "LOG_FORKED",
        f"the log {origin} contradicts itself: it has not got {what}",
        rule="a log, and a key, is succeeded once (docs/decisions/0021)",
        remedy="believe nothing of this log; keep both statements, and show them to its operator and witnesses",
    )
