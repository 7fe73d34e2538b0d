"""Generate the Python stubs of ``proto/`` into ``vitne_api/``.

The stubs are build output: never edited, never committed. Their package is
``vitne_api`` rather than ``vitne``, so that what is generated and what is written
can't be mistaken for each other; the proto packages keep their names on the wire.

Usage: ``python -m tools.stubs`` from the project's root.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from google.rpc import status_pb2
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "proto"
TARGET = ROOT / "vitne_api"
#: What our protos import from others' packages, laid out for buf, which reads no wheels.
DEPENDENCIES = ROOT / "build" / "proto-deps"
_OWN_IMPORT = re.compile(r"^(from|import) vitne\.", re.MULTILINE)
_OWN_NAME = re.compile(r"(?<![\w.\"'/])vitne\.(?=\w+\.v\d+[. ])")


def generate(target: Path = TARGET, source: Path = SOURCE) -> int:
    """Run protoc with the Python, type-stub and gRPC plugins; answer the number of proto files."""
    well_known = Path(str(files("grpc_tools"))) / "_proto"
    google_rpc = Path(status_pb2.__file__).parents[2]
    protos = sorted(str(path.relative_to(source)) for path in source.rglob("*.proto"))
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        arguments = ["protoc", f"-I{source}", f"-I{well_known}", f"-I{google_rpc}"]
        arguments += [f"--{kind}={scratch}" for kind in ("python_out", "grpc_python_out")]
        arguments += [f"--{kind}=quiet:{scratch}" for kind in ("mypy_out", "mypy_grpc_out")]
        # protoc finds its plugins, which were installed beside this interpreter, on the PATH.
        os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        if protoc.main([*arguments, *protos]) != 0:
            raise SystemExit("protoc failed")
        generated = Path(scratch) / "vitne"
        for path in generated.rglob("*.py*"):
            text = _OWN_IMPORT.sub(r"\1 vitne_api.", path.read_text())
            if path.suffix == ".pyi":
                text = _OWN_NAME.sub("vitne_api.", text)
            path.write_text(text)
        for folder in [generated, *(path for path in generated.rglob("*") if path.is_dir())]:
            (folder / "__init__.py").touch()
        (generated / "py.typed").touch()
        shutil.rmtree(target, ignore_errors=True)
        generated.rename(target)
    status = DEPENDENCIES / "google" / "rpc" / "status.proto"
    status.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(google_rpc / "google" / "rpc" / "status.proto", status)
    return len(protos)


if __name__ == "__main__":
    sys.stdout.write(f"{generate()} proto files -> {TARGET.relative_to(ROOT)}/\n")
