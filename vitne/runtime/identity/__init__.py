"""Identity: who calls, how that is verified, and how a service shows who it is.

Institutions, hubs and services come with Maskinporten access tokens; learners with
ID-porten's ID tokens. Both issuers are configuration.
"""

from vitne.runtime.identity.caller import Caller, caller_context, current_caller

__all__ = ["Caller", "caller_context", "current_caller"]
