"""Every page of the portal is one that a browser looks at: in a list that a new address has to be entered in."""

from __future__ import annotations

import ast
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from services.portal.emrex.assembly import Emrex
from services.portal.emrex.clients import Client, Clients
from services.portal.emrex.providers import DataProvider, DataProviders
from services.portal.sharing.assembly import Sharing
from services.portal.web.site import Parts, site
from tests.browser.pages import NO_PAGES, OTHER_SERVICES, PAGES, REFUSALS
from tests.unit.portal_site import OpenId
from vitne.clock import ManualClock

BROWSER = Path(__file__).parents[1] / "browser"
#: What tests look at a page with (``tests/browser/support.py``).
LOOKS = {"look", "look_here"}


def served() -> set[str]:
    """Method and path of each route of a portal that has every part."""
    parts: dict[str, Any] = {
        "openid": [OpenId("id-porten"), OpenId("feide")],
        "clock": ManualClock(datetime.fromisoformat("2026-11-21T10:00:00Z")),
        "public_url": "https://portal.test",
        "session": timedelta(hours=1),
        "sharing": Sharing(None, None, None),  # type: ignore[arg-type]
        "emrex": Emrex(
            Clients([Client("A client", "https://client.test/")]),
            DataProviders([DataProvider("XX-EMP", "SE", "https://emp.test/", b"", ())]),
            None,  # type: ignore[arg-type]
            None,  # type: ignore[arg-type]
        ),
    }
    others: dict[str, Any] = dict.fromkeys(Parts.__slots__)
    _, routes = site(Parts(**others | parts))
    return {f"{route.method} {route.path}" for route in routes}


def looked_at() -> set[str]:
    """Names under which tests look at pages; ``{…}`` where a name has a part of its own."""
    found = set()
    for file in BROWSER.glob("test_*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in LOOKS:
                name = ast.unparse(node.args[1])
                found.add(name.removeprefix("f").strip("'"))
    return found


def test_every_address_is_listed() -> None:
    listed = [*PAGES, *(address for addresses in NO_PAGES.values() for address in addresses)]
    assert len(listed) == len(set(listed)), "an address shows a page, or it doesn't"
    assert served() == set(listed), "list it in tests/browser/pages.py, and look at it"


def test_every_page_is_looked_at_in_a_browser() -> None:
    names = set().union(*PAGES.values(), *OTHER_SERVICES.values(), REFUSALS)
    assert looked_at() == names, "what is listed is looked at, and what is looked at is listed"
