"""RDFC-1.0: RDF Dataset Canonicalization (W3C Recommendation, 21 May 2024).

Blank nodes get labels that follow from the graph alone, so that two writings of one dataset have the same bytes.
Most nodes are told apart by the quads they stand in (section 4.6). Those that are not are told apart by every path
that leads away from them (section 4.8), which is factorial on graphs that were made for it. So that work is counted,
and beyond a budget the dataset is refused (section 7.1).
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import permutations
from typing import Final, Literal

from vitne.credentials.rdf.terms import BLANK, Quad, line
from vitne.errors import InvalidArgument

#: Hash functions that the suites ask for.
Hash = Literal["sha256", "sha384"]
#: Steps over paths from blank nodes that are alike, before a dataset is refused. A credential with a dozen tied nodes
#: takes some hundreds; the refusal comes within some ten milliseconds.
WORK_BUDGET: Final = 50_000
#: Longest such path, in nodes: each is three calls deep.
MAX_PATH: Final = 100

_CANONICAL: Final = "_:c14n"
_TEMPORARY: Final = "_:b"


@dataclass(frozen=True, slots=True)
class Canonical:
    """A dataset in canonical form."""

    #: The quads' lines, each with its line feed, in code point order, without repetition.
    lines: tuple[str, ...]
    #: Canonical label by the label that the dataset came with, both with ``_:``.
    labels: Mapping[str, str]

    @property
    def document(self) -> bytes:
        """The canonical N-Quads document, UTF-8."""
        return "".join(self.lines).encode()


def canonicalise(quads: Iterable[Quad], *, hash_name: Hash = "sha256", work_budget: int = WORK_BUDGET) -> Canonical:
    """Canonicalise a dataset (section 4.4.3).

    Raises:
        InvalidArgument: ``GRAPH_TOO_COMPLEX`` when telling its blank nodes apart takes more than ``work_budget``
            steps, or paths beyond :data:`MAX_PATH`.
    """
    dataset = dict.fromkeys(quads)
    labels = _Labelling(dataset, hash_name, work_budget).labels()
    if labels:
        lines = sorted(
            {
                line((labels.get(s, s), p, labels.get(o, o), labels.get(g, g) if g else g))  # predicates are IRIs
                for s, p, o, g in dataset
            }
        )
    else:
        lines = sorted(line(quad) for quad in dataset)
    return Canonical(tuple(lines), labels)


class _Issuer:
    """Issues identifiers in the order in which they are asked for (section 4.5)."""

    __slots__ = ("issued", "prefix")

    def __init__(self, prefix: str, issued: Mapping[str, str] | None = None) -> None:
        self.prefix = prefix
        self.issued = dict(issued or {})

    def issue(self, node: str) -> str:
        known = self.issued.get(node)
        if known is None:
            known = self.issued[node] = f"{self.prefix}{len(self.issued)}"
        return known

    def copy(self) -> _Issuer:
        return _Issuer(self.prefix, self.issued)


class _Labelling:
    """The canonicalization state (section 4.2) of one run."""

    def __init__(self, dataset: Iterable[Quad], hash_name: Hash, work_budget: int) -> None:
        self._new_hash = getattr(hashlib, hash_name)
        self._work_left = work_budget
        self._path = 0
        self._quads: defaultdict[str, list[Quad]] = defaultdict(list)
        for quad in dataset:
            subject, _, object_, graph = quad
            if subject.startswith(BLANK):
                self._quads[subject].append(quad)
            if object_.startswith(BLANK) and object_ != subject:
                self._quads[object_].append(quad)
            if graph.startswith(BLANK) and graph not in (subject, object_):
                self._quads[graph].append(quad)
        self._first_degree: dict[str, str] = {}
        self._issuer = _Issuer(_CANONICAL)

    def labels(self) -> dict[str, str]:
        by_hash: defaultdict[str, list[str]] = defaultdict(list)
        for node in self._quads:
            by_hash[self._hash_first_degree(node)].append(node)
        tied = []
        for _, nodes in sorted(by_hash.items()):
            if len(nodes) == 1:
                self._issuer.issue(nodes[0])
            else:
                tied.append(nodes)
        for nodes in tied:
            self._label_tied(nodes)
        return self._issuer.issued

    def _label_tied(self, nodes: list[str]) -> None:
        """Step 5: nodes of one hash, in the order of what leads away from them."""
        found: list[tuple[str, _Issuer]] = []
        for node in nodes:
            if node not in self._issuer.issued:
                issuer = _Issuer(_TEMPORARY)
                issuer.issue(node)
                found.append(self._hash_n_degree(node, issuer))
        for _, issuer in sorted(found, key=lambda result: result[0]):
            for node in issuer.issued:
                self._issuer.issue(node)

    def _digest(self, text: str) -> str:
        digest: str = self._new_hash(text.encode()).hexdigest()
        return digest

    def _hash_first_degree(self, node: str) -> str:
        """Section 4.6.3: the quads that a node stands in, itself as ``_:a``, other blank nodes as ``_:z``."""
        known = self._first_degree.get(node)
        if known is None:
            lines = []
            for subject, predicate, object_, graph in self._quads[node]:
                if subject.startswith(BLANK):
                    subject = "_:a" if subject == node else "_:z"  # noqa: PLW2901
                if object_.startswith(BLANK):
                    object_ = "_:a" if object_ == node else "_:z"  # noqa: PLW2901
                if graph.startswith(BLANK):
                    graph = "_:a" if graph == node else "_:z"  # noqa: PLW2901
                lines.append(line((subject, predicate, object_, graph)))
            known = self._first_degree[node] = self._digest("".join(sorted(lines)))
        return known

    def _hash_related(self, related: str, quad: Quad, issuer: _Issuer, position: str) -> str:
        """Section 4.7.3: a neighbour by its place in a quad and what is known of it."""
        name = self._issuer.issued.get(related) or issuer.issued.get(related) or self._hash_first_degree(related)
        predicate = "" if position == "g" else quad[1]
        return self._digest(f"{position}{predicate}{name}")

    def _hash_n_degree(self, node: str, issuer: _Issuer) -> tuple[str, _Issuer]:
        """Section 4.8.3: of all orders in which the neighbours can be walked, the one that reads least."""
        self._path += 1
        if self._path > MAX_PATH:
            raise _too_complex()
        neighbours: defaultdict[str, list[str]] = defaultdict(list)
        for quad in self._quads[node]:
            for place, position in ((0, "s"), (2, "o"), (3, "g")):
                related = quad[place]
                if related != node and related.startswith(BLANK):
                    neighbours[self._hash_related(related, quad, issuer, position)].append(related)
        to_hash = []
        for related_hash, alike in sorted(neighbours.items()):
            path, issuer = self._least_path(alike, issuer)
            to_hash += [related_hash, path]
        self._path -= 1
        return self._digest("".join(to_hash)), issuer

    def _least_path(self, alike: list[str], issuer: _Issuer) -> tuple[str, _Issuer]:
        chosen, chosen_issuer = "", issuer
        for order in permutations(alike):
            self._spend(len(order) + len(issuer.issued))  # what is walked, and what is copied for it
            walked = self._walk(order, issuer.copy(), chosen)
            if walked is not None and (not chosen or walked[0] < chosen):
                chosen, chosen_issuer = walked
        return chosen, chosen_issuer

    def _walk(self, order: tuple[str, ...], issuer: _Issuer, chosen: str) -> tuple[str, _Issuer] | None:
        """Steps 5.4.1 to 5.4.5: the path of one order, or None once it can't read less than ``chosen``."""
        path, unknown = "", []
        for related in order:
            label = self._issuer.issued.get(related)
            if label is None:
                if related not in issuer.issued:
                    unknown.append(related)
                label = issuer.issue(related)
            path += label
            if _is_beyond(path, chosen):
                return None
        for related in unknown:
            digest, deeper = self._hash_n_degree(related, issuer)
            path += f"{issuer.issue(related)}<{digest}>"
            issuer = deeper
            if _is_beyond(path, chosen):
                return None
        return path, issuer

    def _spend(self, steps: int) -> None:
        self._work_left -= steps
        if self._work_left < 0:
            raise _too_complex()


def _too_complex() -> InvalidArgument:
    return InvalidArgument(
        "GRAPH_TOO_COMPLEX",
        "its blank nodes are too many alike to be told apart with reasonable work",
        rule="RDFC-1.0, section 7.1: dataset poisoning",
        remedy="give the nodes identifiers, or tell them apart by what they say",
    )


def _is_beyond(path: str, chosen: str) -> bool:
    return bool(chosen) and len(path) >= len(chosen) and path > chosen
