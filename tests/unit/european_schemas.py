"""The official schema of ELMO and the EDC shapes, from the vectors, without the network."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any, Final

import pyshacl
import rdflib
from lxml import etree
from rdflib.namespace import SH

#: The shapes of each profile.
PROFILES: Final = {
    "generic": ("EDC-generic-no-cv.ttl", "EDC-generic-full.ttl"),
    "accredited": ("EDC-generic-no-cv.ttl", "EDC-generic-full.ttl", "EDC-accredited.ttl"),
}
# What the schema imports and the vectors lack; nothing that we write uses more of it.
ADDRESS_STUB: Final = b"""<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" elementFormDefault="qualified"
  targetNamespace="https://github.com/erasmus-without-paper/ewp-specs-types-address/tree/stable-v1">
  <xs:complexType name="FlexibleAddress"><xs:sequence><xs:any minOccurs="0" maxOccurs="unbounded"
  processContents="skip"/></xs:sequence></xs:complexType></xs:schema>"""
XML_STUB: Final = b"""<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"
  targetNamespace="http://www.w3.org/XML/1998/namespace"><xs:attribute name="lang" type="xs:language"/></xs:schema>"""


class _Imports(etree.Resolver):
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def resolve(self, url: str | None, public: str | None, context: Any, /) -> Any:
        assert url is not None
        name = url.rpartition("/")[2]
        if "ewp-specs-types-address" in url:
            return self.resolve_string(ADDRESS_STUB, context)
        if name == "xml.xsd":
            return self.resolve_string(XML_STUB, context)
        return self.resolve_filename(str(self._folder / "references" / name), context)


def elmo_schema(folder: Path) -> etree.XMLSchema:
    """The schema of ELMO.

    Args:
        folder: ``elmo/v1.7.0`` of the vectors.
    """
    parser = etree.XMLParser(load_dtd=False, no_network=True)
    parser.resolvers.add(_Imports(folder))
    return etree.XMLSchema(etree.parse(str(folder / "schema.xsd"), parser))


def edc_shapes(folder: Path, profile: str) -> rdflib.Graph:
    """The shapes of a profile.

    Args:
        folder: ``elm3`` of the vectors.
        profile: one of :data:`PROFILES`.
    """
    graph = rdflib.Graph()
    for name in PROFILES[profile]:
        graph.parse(str(folder / "ap-edc-3.2" / name))
    return graph


def graph_of(vectors: Path, document: dict[str, Any]) -> rdflib.Graph:
    """A credential's triples, with the contexts from the vectors."""
    known = {
        "https://www.w3.org/2018/credentials/v1": vectors / "contexts" / "2018-credentials-v1.jsonld",
        "http://data.europa.eu/snb/model/context/edc-ap": vectors / "elm3" / "ap-edc-3.2" / "edc-ap-context.jsonld",
    }
    inline = copy.deepcopy(document)
    inline["@context"] = [
        json.loads(known[item].read_bytes())["@context"] if isinstance(item, str) else item
        for item in document["@context"]
    ]
    return rdflib.Graph().parse(data=json.dumps(inline), format="json-ld")


def violations(vectors: Path, document: dict[str, Any], shapes: rdflib.Graph) -> list[str]:
    """What a credential does not conform to, in the shapes' words."""
    graph = graph_of(vectors, document)
    conforms, results, _ = pyshacl.validate(graph, shacl_graph=shapes, advanced=False, inference="none")
    found = [str(message) for message in results.objects(None, SH.resultMessage)]
    assert conforms is not bool(found)
    return found
