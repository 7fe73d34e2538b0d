"""Signed credentials of any format taken apart, changed, and put together again under the old signature."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Final

from lxml import etree

from vitne.canonical import b64url, from_b64url

#: How one place of a tree is changed; what has no such place is left as it is.
Change = Callable[[Any, Any], None]
_JWT_PARTS: Final = ("header", "payload")
#: Behind a member's name: it is written as if it had no such end, so that an object can name a member twice.
_AGAIN: Final = "\ue000"


def open_token(text: str) -> dict[str, Any]:
    """A JWT or SD-JWT as a tree of all that it says."""
    jwt, *disclosures = text.split("~")
    *parts, _ = (from_b64url(part) for part in jwt.split("."))
    tree: dict[str, Any] = dict(zip(_JWT_PARTS, map(json.loads, parts), strict=True))
    if disclosures:
        tree["disclosures"] = [json.loads(from_b64url(one)) for one in disclosures if one]
    return tree


def close_token(tree: dict[str, Any], signed: str) -> str:
    """The inverse, with the signature of ``signed``."""
    jwt, *disclosures = signed.split("~")
    *_, signature = jwt.split(".")
    again = ".".join([*(_encoded(tree[part]) for part in _JWT_PARTS if part in tree), signature])
    return "~".join([again, *map(_encoded, tree.get("disclosures", [])), ""]) if disclosures else again


def open_document(text: str) -> dict[str, Any]:
    """A document with its proof."""
    document: dict[str, Any] = json.loads(text)
    return document


def close_document(tree: dict[str, Any], _signed: str) -> str:
    return _written(tree)


def open_seal(text: str) -> dict[str, Any]:
    """A sealed credential's header and payload."""
    outer = json.loads(text)
    header = json.loads(from_b64url(outer["signatures"][0]["protected"]))
    return {"header": header, "payload": json.loads(outer["payload"])}


def close_seal(tree: dict[str, Any], signed: str) -> str:
    entry = {"signature": json.loads(signed)["signatures"][0]["signature"]}
    if "header" in tree:
        entry["protected"] = _encoded(tree["header"])
    payload = {"payload": _written(tree["payload"])} if "payload" in tree else {}
    return json.dumps({**payload, "signatures": [entry]})


def _written(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace(_AGAIN, "")


def _encoded(value: Any) -> str:
    return b64url(_written(value).encode())


# --- Changes of JSON ------------------------------------------------------------------------------


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container of a tree, with each of its keys or indexes."""
    steps: list[Any] = (
        list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    )
    for step in steps:
        yield value, step
        yield from places(value[step])


def flip(container: Any, step: Any) -> None:
    """Another value of the same kind."""
    value = container[step]
    if isinstance(value, bool):
        container[step] = not value
    elif isinstance(value, int | float):
        container[step] = value + 1
    elif isinstance(value, str):
        middle = len(value) // 2
        container[step] = value[:middle] + ("A" if value[middle : middle + 1] != "A" else "B") + value[middle + 1 :]
    elif value is None:
        container[step] = False


def drop(container: Any, step: Any) -> None:
    del container[step]


def duplicate(container: Any, step: Any) -> None:
    """An element twice; a member named twice, the second time with something else."""
    if isinstance(container, list):
        container.insert(step, copy.deepcopy(container[step]))
    else:
        container[f"{step}{_AGAIN}"] = "another"


def reorder(container: Any, step: Any) -> None:
    """Elements or members from last to first."""
    value = container[step]
    container[step] = value[::-1] if isinstance(value, list) else value
    if isinstance(value, dict):
        container[step] = dict(reversed(value.items()))


def changed_trees(tree: dict[str, Any], change: Change, most: int) -> Iterator[dict[str, Any]]:
    """The tree with one of its places changed; ``most`` places in turn, evenly apart."""
    text, count = json.dumps(tree), sum(1 for _ in places(tree))
    for number in _evenly(count, most):
        again = json.loads(text)
        container, step = next(islice(places(again), number, None))
        change(container, step)
        yield again


def _evenly(count: int, most: int) -> Iterator[int]:
    chosen = min(count, most)
    return (place * count // chosen for place in range(chosen))


# --- Changes of XML -------------------------------------------------------------------------------


def _flip_xml(element: etree._Element) -> bool:
    if not (element.text or "").strip():
        return False
    value = {"flipped": element.text}
    flip(value, "flipped")
    element.text = value["flipped"]
    return True


def _drop_xml(element: etree._Element) -> bool:
    parent = element.getparent()
    if parent is not None:
        parent.remove(element)
    return parent is not None


def _duplicate_xml(element: etree._Element) -> bool:
    if element.getparent() is None:
        return False
    element.addnext(copy.deepcopy(element))
    return True


def _reorder_xml(element: etree._Element) -> bool:
    children = list(element)
    element[:] = children[::-1]
    return len(children) > 1


_OF_XML: Final[dict[Change, Callable[[etree._Element], bool]]] = {
    flip: _flip_xml,
    drop: _drop_xml,
    duplicate: _duplicate_xml,
    reorder: _reorder_xml,
}


def changed_xml(text: str, change: Change, most: int) -> Iterator[str]:
    """An XML document with one of its elements changed; ``most`` elements in turn, evenly apart."""
    count = sum(1 for _ in etree.fromstring(text.encode()).iter("*"))
    for number in _evenly(count, most):
        root = etree.fromstring(text.encode())
        if _OF_XML[change](list(root.iter("*"))[number]):
            yield etree.tostring(root, encoding="unicode")
