"""Who the development issuer knows: clients with their keys, and synthetic learners."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from joserfc.jwk import ECKey, RSAKey

from vitne.errors import FailedPrecondition, InvalidArgument
from vitne.identifiers import NORWEGIAN_NATIONAL_ID, LearnerId, OrganisationId
from vitne.runtime.identity import HIGH, LEVELS_OF_ASSURANCE

#: Seconds that an access token lives: Maskinporten's default.
ACCESS_TOKEN_LIFETIME: Final = 120
#: What the keys of a private JWK file are: RSA, since Maskinporten takes no other from clients.
KEY_BITS: Final = 2048


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A part of the configuration. Members that it does not know are refused: they are misspelt ones."""


class Delegation(_Part, frozen=True):
    """An organisation that has delegated scopes to a client's organisation, as in Altinn."""

    #: Who delegates, ``scheme:value``.
    consumer: str
    #: What is delegated.
    scopes: tuple[str, ...]


class SystemUser(_Part, frozen=True):
    """A customer that has given a client's system a system user, as in Altinn."""

    #: The customer, ``scheme:value``.
    organisation: str
    #: The system's name at Altinn.
    system_id: str
    #: Ids of the system users.
    user_ids: tuple[str, ...]


class Client(_Part, frozen=True):
    """A client of Maskinporten, ID-porten, or both."""

    #: Its name.
    client_id: str
    #: The organisation that it belongs to, ``scheme:value``.
    organisation: str
    #: Its public key, with ``kid``.
    public_jwk: dict[str, Any]
    #: Scopes that it may ask for on its own organisation's behalf.
    scopes: tuple[str, ...] = ()
    #: Who has delegated what to it.
    delegations: tuple[Delegation, ...] = ()
    #: Whose system users it has.
    system_users: tuple[SystemUser, ...] = ()
    #: Persons on whose behalf it may ask for tokens, by opaque names: an authority's officers.
    officers: tuple[str, ...] = ()
    #: Where learners may be sent after log-in.
    redirect_uris: tuple[str, ...] = ()
    #: Where learners may be sent after log-out.
    post_logout_redirect_uris: tuple[str, ...] = ()
    #: Its secret at Feide, which has no keys of clients; empty: it is no client of Feide's.
    secret: str = ""


class Learner(_Part, frozen=True):
    """A synthetic person who can log in."""

    #: A synthetic national identity number: 80 is added to the month.
    pid: str
    #: Given name.
    given_name: str
    #: Family name.
    family_name: str
    #: The strongest log-in that the person has.
    acr: str = HIGH
    #: The organisation that the person may act for, ``scheme:value``; empty: none.
    represents: str = ""
    #: Its name.
    organisation_name: str = ""
    #: Whether Feide knows the number: not every school tells it.
    number_at_feide: bool = True


class Configuration(_Part, frozen=True):
    """All that the development issuer is told."""

    #: Issuer identifier: an origin without a path.
    issuer: str
    #: The issuer's private signing key (RSA), with ``kid``.
    signing_key: dict[str, Any]
    #: Who may ask for tokens.
    clients: tuple[Client, ...] = ()
    #: Who may log in.
    learners: tuple[Learner, ...] = ()
    #: Seconds that an access token lives.
    access_token_lifetime: int = ACCESS_TOKEN_LIFETIME

    @classmethod
    def read(cls, path: Path) -> Configuration:
        """The checked configuration in a JSON file.

        Raises:
            InvalidArgument: ``BAD_CONFIGURATION``, or what :meth:`check` raises.
        """
        try:
            configuration = msgspec.json.decode(path.read_bytes(), type=cls)
        except msgspec.MsgspecError as error:
            raise InvalidArgument("BAD_CONFIGURATION", str(error), field=str(path)) from error
        configuration.check()
        return configuration

    def check(self) -> None:
        """Refuse what no real issuer would take, and everybody who might be a real person.

        Raises:
            InvalidArgument: ``BAD_CONFIGURATION``, ``BAD_ORGANISATION``, ``BAD_LEARNER_ID``, ``NOT_SYNTHETIC``.
        """
        if urlsplit(self.issuer).path not in ("", "/"):
            raise InvalidArgument("BAD_CONFIGURATION", "the issuer has a path", field="issuer")
        for client in self.clients:
            OrganisationId.parse(client.organisation, field="clients.organisation")
            if "kid" not in client.public_jwk or "d" in client.public_jwk:
                raise InvalidArgument(
                    "BAD_CONFIGURATION", "a client's key must be public and have a kid", field="clients.public_jwk"
                )
            for delegation in client.delegations:
                OrganisationId.parse(delegation.consumer, field="clients.delegations.consumer")
            for user in client.system_users:
                OrganisationId.parse(user.organisation, field="clients.system_users.organisation")
        for learner in self.learners:
            require_synthetic(learner.pid)
            if learner.represents:
                OrganisationId.parse(learner.represents, field="learners.represents")
            if learner.acr not in LEVELS_OF_ASSURANCE:
                raise InvalidArgument("BAD_CONFIGURATION", "unknown level of assurance", field="learners.acr")


def require_synthetic(pid: str) -> None:
    """Refuse a number that could be a person's.

    Raises:
        InvalidArgument: ``BAD_LEARNER_ID``, ``NOT_SYNTHETIC``; the message never repeats the number.
    """
    LearnerId.parse(NORWEGIAN_NATIONAL_ID, pid)
    if not 81 <= int(pid[2:4]) <= 92:
        raise InvalidArgument(
            "NOT_SYNTHETIC",
            "the development issuer knows synthetic learners only",
            field="learners.pid",
            rule="synthetic national identity numbers add 80 to the month",
            remedy="make one with vitne.identifiers.synthetic_national_id",
        )


def require_development(environment: Mapping[str, str] | None = None) -> None:
    """Refuse to hand out identities where they would count.

    Raises:
        FailedPrecondition: ``NOT_IN_PRODUCTION``.
    """
    if (os.environ if environment is None else environment).get("VITNE_ENVIRONMENT", "").lower() == "production":
        raise FailedPrecondition(
            "NOT_IN_PRODUCTION",
            "the development issuer gives anybody any identity, and VITNE_ENVIRONMENT is production",
            remedy="set VITNE_IDENTITY_ISSUER to the real issuer",
        )


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """What a client needs to ask for tokens.

    Attributes:
        client_id: its name.
        organisation: the organisation that it belongs to.
        scopes: what it may ask for.
        key_file: its private JWK.
        officer: the person on whose behalf; empty: nobody's.
    """

    client_id: str
    organisation: str
    scopes: tuple[str, ...]
    key_file: Path
    officer: str = ""


class DevelopmentIdentity:
    """Writes a configuration, and the clients' keys, into a folder; keys that are there are used again.

    Args:
        folder: is made when it isn't there; readable by its owner only.
        issuer: issuer identifier, such as ``http://127.0.0.1:7100``.
    """

    def __init__(self, folder: Path, issuer: str) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self._issuer = issuer
        self._clients: dict[str, Client] = {}
        self._learners: dict[str, Learner] = {}

    def make_client(
        self,
        client_id: str,
        organisation: str,
        scopes: Iterable[str] = (),
        *,
        delegations: Iterable[Delegation] = (),
        system_users: Iterable[SystemUser] = (),
        officers: Iterable[str] = (),
        redirect_uris: Iterable[str] = (),
        post_logout_redirect_uris: Iterable[str] = (),
        secret: str = "",
    ) -> ClientCredentials:
        """Register a client; its private key is in ``key_file``. With a ``secret`` it is one of Feide's, too."""
        key_file = self._folder / f"{client_id}.jwk.json"
        private = _key(key_file, client_id)
        self._clients[client_id] = Client(
            client_id=client_id,
            organisation=organisation,
            public_jwk=_public(private),
            scopes=tuple(scopes),
            delegations=tuple(delegations),
            system_users=tuple(system_users),
            officers=tuple(officers),
            redirect_uris=tuple(redirect_uris),
            post_logout_redirect_uris=tuple(post_logout_redirect_uris),
            secret=secret,
        )
        return ClientCredentials(client_id, organisation, self._clients[client_id].scopes, key_file)

    def add_learner(
        self,
        pid: str,
        given_name: str,
        family_name: str,
        acr: str = HIGH,
        *,
        represents: str = "",
        organisation_name: str = "",
        number_at_feide: bool = True,
    ) -> None:
        """Let a synthetic person log in, who may act for an organisation where one is named."""
        self._learners[pid] = Learner(
            pid=pid,
            given_name=given_name,
            family_name=family_name,
            acr=acr,
            represents=represents,
            organisation_name=organisation_name,
            number_at_feide=number_at_feide,
        )

    def write(self) -> Path:
        """Check and write the configuration; answers its path.

        Raises:
            InvalidArgument: what :meth:`Configuration.check` raises.
        """
        configuration = Configuration(
            issuer=self._issuer,
            signing_key=_key(self._folder / "issuer.jwk.json", "issuer"),
            clients=tuple(self._clients.values()),
            learners=tuple(self._learners.values()),
        )
        configuration.check()
        path = self._folder / "identity.json"
        _write_private(path, msgspec.json.format(msgspec.json.encode(configuration)))
        return path


def import_key(jwk: Mapping[str, Any]) -> RSAKey | ECKey:
    """An RSA or EC key from its JWK."""
    return RSAKey.import_key(dict(jwk)) if jwk.get("kty") == "RSA" else ECKey.import_key(dict(jwk))


def _key(path: Path, name: str) -> dict[str, Any]:
    if path.exists():
        return dict(msgspec.json.decode(path.read_bytes(), type=dict[str, Any]))
    key = RSAKey.generate_key(KEY_BITS, private=True, auto_kid=False)
    private = {**key.as_dict(private=True), "kid": f"{name}-{key.thumbprint()[:8]}", "use": "sig", "alg": "RS256"}
    _write_private(path, msgspec.json.encode(private))
    return private


def _public(private: Mapping[str, Any]) -> dict[str, Any]:
    public = import_key(private).as_dict(private=False)
    return {**public, "kid": private["kid"], "use": "sig", "alg": private.get("alg", "RS256")}


def _write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    draft = path.with_suffix(".draft")
    draft.touch(mode=0o600)
    draft.write_bytes(content)
    draft.replace(path)
