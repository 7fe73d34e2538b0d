"""Every address of the portal, and where a browser looks at it: a new one that is in neither list fails a test. And the
pages of the other services.
"""

from __future__ import annotations

from typing import Final

#: What answers with a page, and the names under which tests look at it (``look``, ``look_here``): axe, every rule, at
#: a desk's width and at 320 px.
PAGES: Final = {
    "GET /": {"front", "logged-out"},
    "GET /login": {"log-in"},
    "GET /me": {"me", "me-not-registered", "stack-me"},
    "GET /me/credentials/{handle}": {"credential", "credential-{state}", "stack-credential"},
    "GET /me/timeline": {"timeline"},
    "GET /me/shares": {"shares", "shares-none", "shares-withdrawn"},
    "GET /me/shares/new": {"share-new", "share-new-many"},
    "GET /me/shares/{share}/made": {"share-made"},
    "GET /me/shares/{share}/link": {"share-link"},
    "GET /s/{token}": {"share-code", "share-locked", "shared"},
    "POST /s/{token}": {"share-code-wrong", "shared-{verdict}"},
    "GET /me/credentials/{handle}/files": {"files"},
    "GET /me/credentials/{handle}/wallet": {"wallet", "wallet-code", "wallet-not-offered"},
    "GET /employer": {"employer-front", "employer"},
    "POST /employer/invitations": {"employer-invited"},
    "GET /invitation/{token}": {"invitation-unknown", "invitation"},
    "GET /me/employers": {"consents", "consents-none"},
    "GET /privacy": {"privacy", "privacy-copy", "privacy-open"},
    "GET /erased": {"erased"},
    "GET /emrex/results": {"emrex-log-in", "emrex-choose", "emrex-nothing"},
    "POST /emrex/answer": {"emrex-answer"},
    "GET /me/imports": {"imports", "imports-kept"},
    "GET /me/imports/{import}": {"import-go", "import-unsure", "import-nothing", "import-of-others"},
}
#: What is refused is a page too, wherever it is.
REFUSALS: Final = {"no-such-page", "forged-form", "emrex-not-registered", "share-locked"}
#: Pages of other services, and the names under which tests look at them.
OTHER_SERVICES: Final = {
    "ledger: GET /": {"ledger"},
    "registry: GET /": {"registry"},
    "registry: GET /catalogue": {"catalogue"},
    "registry: GET /catalogue/{achievement_id}": {"achievement"},
    "verifier: GET /": {"verifier"},
    "verifier: POST /": {"verifier-{verdict}"},
}
#: What shows no page of its own, and why.
NO_PAGES: Final = {
    "a file": {
        "GET /style.css",
        "GET /icon.svg",
        "GET /me.json",
        "POST /me/shares/{share}/document",
        "GET /s/{token}/{number}",
        "GET /me/credentials/{handle}/files/{format}",
        "GET /privacy/vitne.json",
        "GET /emrex/certificate.pem",
        "GET /me/imports/{import}/elmo.xml",
    },
    "on to a provider, or back from one": {
        "GET /callback",
        "GET /callback/{provider}",
        "POST /logout",
        "POST /register",
        "GET /employer/login",
        "POST /me/imports",
        "POST /privacy/export",
        "POST /privacy/erase",
        "GET /emrex/login",
        "GET /invitation",
        "GET /invitation/{token}/login",
    },
    "an act, and on to a page": {
        "POST /withdraw",
        "POST /me/shares",
        "POST /me/shares/{share}/withdraw",
        "POST /me/shares/{share}/renew",
        "POST /me/shares/{share}/label",
        "POST /me/shares/{share}/link",
        "POST /employer/logout",
        "POST /invitation/{token}",
        "POST /me/employers/{consent}/end",
        "POST /emrex",
        "POST /me/imports/{import}/keep",
        "POST /me/imports/{import}/delete",
        "POST /emrex/return",
        "POST /me/credentials/{handle}/wallet",
        "POST /me/wallet/{offer}/end",
    },
    "for wallets, not for people": {
        "GET /.well-known/openid-credential-issuer",
        "GET /.well-known/oauth-authorization-server",
        "GET /wallet/offers/{reference}",
        "POST /wallet/token",
        "POST /wallet/credential",
    },
}
