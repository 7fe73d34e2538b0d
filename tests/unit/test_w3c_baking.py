"""Badges are baked into PNG and SVG and taken out again; the rest of the image stays as it was."""

from __future__ import annotations

import struct
import zlib
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vitne.credentials.w3c import baking_png, baking_svg
from vitne.credentials.w3c.baking_svg import MAX_NODES
from vitne.errors import InvalidArgument


def chunk(type_: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + type_ + content + struct.pack(">I", zlib.crc32(type_ + content))


HEADER = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
PIXELS = chunk(b"IDAT", zlib.compress(b"\x00\x00"))
PNG = b"\x89PNG\r\n\x1a\n" + HEADER + chunk(b"tEXt", b"Title\x00x") + PIXELS + chunk(b"IEND", b"")
SVG = b"""<?xml version="1.0" encoding="UTF-8"?><!-- > --><svg xmlns="http://www.w3.org/2000/svg" aria-label="a > '">
<circle r="1"/></svg>"""
IMAGES = [(baking_png, PNG), (baking_svg, SVG)]
JSON = '{"name": "Årets ]]> \\"<b>&amp;\\u0000"}'
JWT = "eyJh.eyJi.c2ln"


@pytest.mark.parametrize(("form", "image"), IMAGES)
@pytest.mark.parametrize("credential", [JSON, JWT])
def test_what_is_baked_is_taken_out(form: ModuleType, image: bytes, credential: str) -> None:
    baked = form.bake(image, credential)
    assert form.extract(baked).replace("\\u003e", ">") == credential
    # All that was there still is, in its order.
    begin = next(place for place in range(len(image)) if baked[place] != image[place])
    assert baked.endswith(image[begin:])
    with pytest.raises(InvalidArgument, match="ALREADY_BAKED"):
        form.bake(baked, credential)
    with pytest.raises(InvalidArgument, match="NOT_BAKED"):
        form.extract(image)


def test_a_png_with_two_credentials_is_refused() -> None:
    text = chunk(b"iTXt", b"openbadgecredential\x00\x00\x00\x00\x00" + JWT.encode())
    with pytest.raises(InvalidArgument, match="NOT_BAKED"):
        baking_png.extract(PNG.replace(PIXELS, text * 2 + PIXELS))
    assert baking_png.extract(PNG.replace(PIXELS, text + PIXELS)) == JWT


@pytest.mark.parametrize("content", [b"\x00\x01\x00\x00\x00x", b"\x00\x00\x00x", b"\x00\x00\x00\x00\x00\xff"])
def test_text_that_is_compressed_or_malformed_is_refused(content: bytes) -> None:
    text = chunk(b"iTXt", b"openbadgecredential" + content)
    with pytest.raises(InvalidArgument, match="BAD_IMAGE"):
        baking_png.extract(PNG.replace(PIXELS, text + PIXELS))


@pytest.mark.parametrize(
    "image", [b"", b"GIF89a", PNG[:-1], PNG.replace(b"Title", b"title"), PNG.replace(HEADER, b""), b"\x89PNG\r\n\x1a\n"]
)
def test_what_is_no_png_is_refused(image: bytes) -> None:
    with pytest.raises(InvalidArgument, match="BAD_IMAGE"):
        baking_png.bake(image, JWT)


NAMESPACE = b'xmlns:o="https://purl.imsglobal.org/ob/v3p0"'


@pytest.mark.parametrize(
    "image",
    [
        b"",
        b"<svg/>",
        b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        b"<html/>",
        SVG[:-1],
        SVG.replace(b"<circle", b'<!DOCTYPE svg [<!ENTITY a "b">]><circle'),
        b'<!DOCTYPE svg [<!ENTITY a "b">]>' + SVG[38:],
        SVG.replace(b'<circle r="1"/>', b"<g>" * 300 + b"</g>" * 300),
        SVG.replace(b"<circle", b"<o:credential %b><b/></o:credential><circle" % NAMESPACE),
        "<?xml version='1.0' encoding='UTF-16'?><svg/>".encode("utf-16"),
    ],
)
def test_what_is_no_svg_is_refused(image: bytes) -> None:
    with pytest.raises(InvalidArgument, match="BAD_IMAGE"):
        baking_svg.bake(image, JWT)


@pytest.mark.parametrize(("form", "image"), IMAGES)
def test_images_beyond_the_limit_are_refused(form: ModuleType, image: bytes) -> None:
    with pytest.raises(InvalidArgument, match="TOO_LARGE"):
        form.extract(image + bytes(form.MAX_IMAGE))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(IMAGES), st.data())
def test_damage_is_refused_and_never_a_crash(pair: tuple[ModuleType, bytes], data: st.DataObject) -> None:
    form, image = pair
    damaged = bytearray(form.bake(image, JWT))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        form.extract(bytes(damaged))
    except InvalidArgument:
        return


@pytest.mark.parametrize("many", [b"<a/>" * MAX_NODES, b"<a b='' c=''/>" * (MAX_NODES // 3)])
def test_an_svg_of_very_many_elements_and_attributes_is_refused(many: bytes) -> None:
    with pytest.raises(InvalidArgument, match="elements and attributes"):
        baking_svg.extract(SVG.replace(b"</svg>", many + b"</svg>"))
