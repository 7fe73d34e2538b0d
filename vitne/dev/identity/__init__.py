"""The development stand-in for Maskinporten, ID-porten and Feide: the real protocols, synthetic people.

It is configuration for everything else: to use the real issuers, point
``VITNE_IDENTITY_ISSUER`` at them and register the clients there.
"""

from vitne.dev.identity.application import create_app
from vitne.dev.identity.configuration import (
    Client,
    ClientCredentials,
    Configuration,
    Delegation,
    DevelopmentIdentity,
    Learner,
    SystemUser,
)
from vitne.dev.identity.visitor import confirm, log_in

__all__ = [
    "Client",
    "ClientCredentials",
    "Configuration",
    "Delegation",
    "DevelopmentIdentity",
    "Learner",
    "SystemUser",
    "confirm",
    "create_app",
    "log_in",
]
