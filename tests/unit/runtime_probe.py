"""A contract made for tests of the runtime: every rule, every kind of method, every kind of access."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    timestamp_pb2,  # noqa: F401 - enters the pool
)
from grpc_tools import protoc

from vitne_api.access.v1 import access_pb2  # noqa: F401 - enters the options into the pool
from vitne_api.rules.v1 import rules_pb2  # noqa: F401 - likewise

_PROTO = """
syntax = "proto3";
package vitne.probe.v1;
import "google/protobuf/timestamp.proto";
import "vitne/access/v1/access.proto";
import "vitne/rules/v1/rules.proto";

service ProbeService {
  rpc Open(Part) returns (Part) { option (vitne.access.v1.access) = {public: true}; }
  rpc Scoped(Part) returns (Part) { option (vitne.access.v1.access) = {scope: "vitne:probe.use"}; }
  rpc Forgotten(Part) returns (Part);
  rpc NotPublic(Part) returns (Part) { option (vitne.access.v1.access) = {public: false}; }
  rpc Missing(Part) returns (Part) { option (vitne.access.v1.access) = {public: true}; }
  rpc Down(Part) returns (stream Part) { option (vitne.access.v1.access) = {scope: "vitne:probe.use"}; }
  rpc Up(stream Part) returns (Part) { option (vitne.access.v1.access) = {public: true}; }
  rpc Both(stream Part) returns (stream Part) { option (vitne.access.v1.access) = {public: true}; }
}

enum Colour { COLOUR_UNSPECIFIED = 0; COLOUR_RED = 1; }

message Part {
  string name = 1 [(vitne.rules.v1.rules) = {max_length: 5}];
  repeated Part parts = 2 [(vitne.rules.v1.rules) = {max_items: 3}];
}

message Everything {
  string needed = 1 [(vitne.rules.v1.rules) = {required: true, max_length: 3}];
  string plain = 2;
  string uuid = 3 [(vitne.rules.v1.rules) = {format: FORMAT_UUID}];
  string organisation = 4 [(vitne.rules.v1.rules) = {format: FORMAT_ORGANISATION}];
  string language = 5 [(vitne.rules.v1.rules) = {format: FORMAT_LANGUAGE}];
  string uri = 6 [(vitne.rules.v1.rules) = {format: FORMAT_URI}];
  string date = 7 [(vitne.rules.v1.rules) = {format: FORMAT_DATE}];
  string decimal = 8 [(vitne.rules.v1.rules) = {format: FORMAT_DECIMAL}];
  string country = 9 [(vitne.rules.v1.rules) = {format: FORMAT_COUNTRY}];
  string term = 10 [(vitne.rules.v1.rules) = {format: FORMAT_TERM}];
  string digest = 11 [(vitne.rules.v1.rules) = {format: FORMAT_DIGEST}];
  bytes blob = 12 [(vitne.rules.v1.rules) = {max_length: 4}];
  uint32 number = 13 [(vitne.rules.v1.rules) = {max_value: 10}];
  Colour colour = 14 [(vitne.rules.v1.rules) = {defined_only: true}];
  Colour any_colour = 15;
  repeated string uuids = 16 [(vitne.rules.v1.rules) = {format: FORMAT_UUID, max_items: 2}];
  repeated string texts = 17;
  Part part = 18;
  Part needed_part = 19 [(vitne.rules.v1.rules) = {required: true}];
  google.protobuf.Timestamp at = 20;
  oneof choice {
    option (vitne.rules.v1.one_required) = true;
    string text = 21 [(vitne.rules.v1.rules) = {max_length: 3}];
    Part chosen = 22;
  }
  optional uint32 count = 23 [(vitne.rules.v1.rules) = {max_value: 7}];
  repeated Part list = 24 [(vitne.rules.v1.rules) = {required: true}];
}

message WithMap { map<string, string> entries = 1; }
"""


def _compile() -> None:
    root = Path(__file__).resolve().parents[2]
    with tempfile.TemporaryDirectory() as folder:
        source, compiled = Path(folder) / "probe.proto", Path(folder) / "probe.binpb"
        source.write_text(_PROTO)
        well_known = Path(str(files("grpc_tools"))) / "_proto"
        includes = [f"-I{path}" for path in (folder, root / "proto", well_known)]
        assert protoc.main(["protoc", *includes, f"--descriptor_set_out={compiled}", str(source)]) == 0
        descriptors = descriptor_pb2.FileDescriptorSet.FromString(compiled.read_bytes())
    descriptor_pool.Default().Add(descriptors.file[0])


_compile()

SERVICE = "vitne.probe.v1.ProbeService"
SCOPE = "vitne:probe.use"


def _class(name: str) -> Callable[..., Any]:
    descriptor = descriptor_pool.Default().FindMessageTypeByName(f"vitne.probe.v1.{name}")
    kind: Callable[..., Any] = message_factory.GetMessageClass(descriptor)
    return kind


Part: Any = _class("Part")
Everything: Any = _class("Everything")
WithMap: Any = _class("WithMap")


def everything(**fields: Any) -> Any:
    """A message that keeps all rules, but for the fields given."""
    sound: dict[str, Any] = {"needed": "abc", "needed_part": Part(), "text": "abc", "list": [Part()]}
    return Everything(**(sound | fields))


class Servicer:
    """Serves the probe; what each method does is given by name. Methods left out are not overridden."""

    def __init__(self, **behaviours: Callable[..., Any]) -> None:
        self._behaviours = behaviours

    def add_to(self, server: Any) -> None:
        descriptor = descriptor_pool.Default().FindServiceByName(SERVICE)
        handlers = {}
        for method in descriptor.methods:
            kinds = ["stream" if streams else "unary" for streams in (method.client_streaming, method.server_streaming)]
            make = getattr(grpc, "{}_{}_rpc_method_handler".format(*kinds))
            behaviour = self._behaviours.get(method.name, _not_overridden)
            handlers[method.name] = make(behaviour, Part.FromString, Part.SerializeToString)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))


def _not_overridden(_request: Any, _context: Any) -> None:
    raise NotImplementedError


def add_probe(servicer: Servicer, server: Any) -> None:
    """As the generated ``add_…Servicer_to_server``."""
    servicer.add_to(server)


def call(channel: Any, method: str) -> Any:
    """A callable for a method of the probe, as a generated stub has it."""
    descriptor = descriptor_pool.Default().FindMethodByName(f"{SERVICE}.{method}")
    kinds = ["stream" if streams else "unary" for streams in (descriptor.client_streaming, descriptor.server_streaming)]
    return getattr(channel, "_".join(kinds))(f"/{SERVICE}/{method}", Part.SerializeToString, Part.FromString)
