"""Puts the pages together: each subject's module adds its routes here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from services.portal.accreditors import Accreditors
from services.portal.employers.store import Employers
from services.portal.emrex.assembly import Emrex
from services.portal.holdings import Holdings
from services.portal.openid import OpenIdClient
from services.portal.sealing import PortalKeys
from services.portal.sessions import Sessions
from services.portal.sharing.assembly import Sharing
from services.portal.store import Store
from services.portal.wallet.permission import Permissions
from services.portal.wallet.store import Offers
from services.portal.web import assets
from services.portal.web.consents import ConsentPages
from services.portal.web.credentials import CredentialPages
from services.portal.web.downloads import DownloadPages
from services.portal.web.employer import EmployerPages
from services.portal.web.emrex_answer import EmrexAnswerPages
from services.portal.web.frame import Frame
from services.portal.web.imports import ImportPages
from services.portal.web.learner import LearnerPages
from services.portal.web.log_in import LogIn
from services.portal.web.privacy import PrivacyPages
from services.portal.web.routes import Route
from services.portal.web.shared import SharedPages
from services.portal.web.sharing import SharingPages
from services.portal.web.wallet import WalletPages
from services.portal.web.wallet_protocol import WalletProtocol
from vitne.clock import Clock


@dataclass(frozen=True, slots=True)
class Parts:
    """What the pages are made from.

    Attributes:
        store: what was gathered.
        sessions: who is logged in.
        keys: find a learner's rows.
        openid: clients of OpenID providers, ID-porten first.
        issuer: stub of the issuer's service.
        rights: stub of the issuer's service for what learners may ask for.
        holdings: all that is held of a learner.
        registry: stub of the registry's service; None: nothing is said of what adds up.
        clock: sessions and expiry.
        public_url: where learners find the portal.
        session: how long a learner stays logged in.
        sharing: shares, what is believed of them, and who signs documents.
        employers: invitations and consents.
        emrex: who asks for results, and where they are fetched.
        offers: what learners take over to their wallets.
    """

    store: Store
    sessions: Sessions
    keys: PortalKeys
    openid: Sequence[OpenIdClient]
    issuer: Any
    rights: Any
    holdings: Holdings
    registry: Any
    clock: Clock
    public_url: str
    session: timedelta
    sharing: Sharing
    employers: Employers
    emrex: Emrex
    offers: Offers


def site(parts: Parts) -> tuple[Frame, list[Route]]:
    """The frame and all routes of the portal."""

    async def origins() -> set[str]:
        return {origin for one in parts.openid for origin in await one.origins()}

    frame = Frame(
        sessions=parts.sessions,
        clock=parts.clock,
        public_url=parts.public_url,
        lifetime=parts.session,
        origins=origins,
    )
    log_in = LogIn(frame, parts.openid, parts.keys)
    accreditors = Accreditors(parts.registry, parts.clock)
    learner = LearnerPages(
        frame,
        log_in,
        store=parts.store,
        issuer=parts.issuer,
        registry=parts.registry,
        accreditors=accreditors,
        clock=parts.clock,
    )
    permissions = Permissions(parts.registry, parts.clock)
    credentials = CredentialPages(
        frame,
        store=parts.store,
        offers=parts.offers,
        permissions=permissions,
        accreditors=accreditors,
        clock=parts.clock,
    )
    wallet = WalletPages(frame, parts.store, parts.offers, permissions, parts.clock)
    wallets = WalletProtocol(frame, parts.store, parts.offers, parts.clock)
    shares = SharingPages(frame, parts.store, parts.sharing, parts.clock)
    shared = SharedPages(frame, parts.sharing, parts.clock)
    downloads = DownloadPages(frame, parts.store, parts.issuer, parts.clock)
    employer = EmployerPages(frame, log_in, parts.employers, parts.clock)
    consents = ConsentPages(frame, log_in, parts.store, parts.employers, parts.clock)
    privacy = PrivacyPages(
        frame, log_in, store=parts.store, holdings=parts.holdings, rights=parts.rights, clock=parts.clock
    )
    answers = EmrexAnswerPages(
        frame, log_in, store=parts.store, clients=parts.emrex.clients, signer=parts.emrex.signer, clock=parts.clock
    )
    imports = ImportPages(
        frame,
        log_in,
        store=parts.store,
        keys=parts.keys,
        providers=parts.emrex.providers,
        imports=parts.emrex.imports,
        clock=parts.clock,
    )
    subjects = (
        *(log_in, learner, credentials, shares, shared, downloads, employer, consents, privacy),
        *(answers, imports, wallet, wallets),
    )
    return frame, [*assets.routes(), *(route for subject in subjects for route in subject.routes())]
