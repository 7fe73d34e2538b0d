"""Compile the contexts that credentials use into term tables of our own: ``vitne/credentials/jsonld/data``.

Usage: ``python -m tools.contexts [FOLDER]`` from the project's root, FOLDER with the official documents
(``../shared/vectors/contexts``). A test holds what is committed against them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from vitne.credentials.jsonld.compiling import compile_scope
from vitne.credentials.jsonld.tables import UNSTATED, Definition, Table, to_json

ROOT: Final = Path(__file__).resolve().parent.parent
DATA: Final = ROOT / "vitne" / "credentials" / "jsonld" / "data"
DOCUMENTS: Final = Path("..") / "shared" / "vectors" / "contexts"
#: Our own context: the document that is published under its URL.
OWN: Final = ROOT / "docs" / "contexts" / "micro-credential-v1.jsonld"
OWN_URL: Final = "https://vitne.example/contexts/micro-credential/v1"
#: URL of each official context, and its document.
OFFICIAL: Final = {
    "https://www.w3.org/ns/credentials/v2": "credentials-v2.jsonld",
    "https://www.w3.org/2018/credentials/v1": "2018-credentials-v1.jsonld",
    "https://w3id.org/security/data-integrity/v1": "data-integrity-v1.jsonld",
    "https://w3id.org/security/suites/ed25519-2020/v1": "suites-ed25519-2020.jsonld",
    "https://purl.imsglobal.org/spec/ob/v3p0/context.json": "ob-v3p0.json",
    "https://purl.imsglobal.org/spec/ob/v3p0/context-3.0.1.json": "ob-v3p0-3.0.1.json",
    "https://purl.imsglobal.org/spec/ob/v3p0/context-3.0.2.json": "ob-v3p0-3.0.2.json",
    "https://purl.imsglobal.org/spec/ob/v3p0/context-3.0.3.json": "ob-v3p0-3.0.3.json",
    "https://purl.imsglobal.org/spec/ob/v3p0/extensions.json": "ob-v3p0-extensions.json",
}
#: Contexts that are so small that W3C's issue describes them in a sentence: no document of theirs is at hand.
DESCRIBED: Final[dict[str, Any]] = {
    "https://www.w3.org/ns/credentials/examples/v2": {"@vocab": "https://www.w3.org/ns/credentials/examples#"},
}


def compiled(context: Any) -> Table:
    """The one table of a whole context: later entries of an array on top of earlier ones.

    Raises:
        ValueError: on a context that refers to another.
    """
    terms: dict[str, Definition] = {}
    vocab = language = UNSTATED
    for entry in compile_scope(context, {}):
        if not isinstance(entry, Table):
            raise ValueError("a context that refers to another is not compiled ahead")
        terms.update(entry.terms)
        vocab, language = entry.vocab or vocab, entry.language or language
    return Table(terms, vocab, language)


def tables(folder: Path) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """URL, file and content of everything that is made here."""
    documents = {OWN_URL: OWN} | {url: folder / document for url, document in OFFICIAL.items()}
    for url, document in documents.items():
        context = json.loads(document.read_text("utf-8"))["@context"]
        yield url, f"{document.stem}.json", to_json(compiled(context))
    for url, context in DESCRIBED.items():
        yield url, "credentials-examples-v2.json", to_json(compiled(context))


def text(content: Any) -> str:
    """JSON as it is committed."""
    return json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def main(folder: Path) -> int:
    """Write all tables and the index of their URLs; 2 where the documents are not there."""
    missing = [document for document in OFFICIAL.values() if not (folder / document).is_file()]
    if missing:
        print(f"contexts: the official documents are not in {folder}: {', '.join(missing)}", file=sys.stderr)
        return 2
    index = {}
    for url, file, content in tables(folder):
        index[url] = file
        (DATA / file).write_text(text(content), "utf-8")
    (DATA / "index.json").write_text(text(index), "utf-8")
    print(f"{len(index)} contexts")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else DOCUMENTS))
