"""What surrounds every RPC: telemetry, errors, deadline, access, rules; one file each, in this order.

They are composed once for each method (:mod:`.chain`), so that a call pays for what
the interceptors do and not for looking up what to do.
"""

from vitne.runtime.interceptors.access import AccessInterceptor, TokenVerifierProtocol
from vitne.runtime.interceptors.chain import Chain
from vitne.runtime.interceptors.deadline import DeadlineInterceptor
from vitne.runtime.interceptors.errors import ErrorsInterceptor
from vitne.runtime.interceptors.rules import RulesInterceptor
from vitne.runtime.interceptors.telemetry import TelemetryInterceptor
from vitne.runtime.rules import check_rules
from vitne.runtime.status import error_from_rpc, errors_to_status

__all__ = [
    "AccessInterceptor",
    "Chain",
    "DeadlineInterceptor",
    "ErrorsInterceptor",
    "RulesInterceptor",
    "TelemetryInterceptor",
    "TokenVerifierProtocol",
    "check_rules",
    "error_from_rpc",
    "errors_to_status",
]
