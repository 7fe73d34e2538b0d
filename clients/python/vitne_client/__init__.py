"""Vitne from outside: subscribe as a portal (:class:`Subscriber`), issue as an institution (:class:`Institution`).

What goes wrong is raised as a :class:`VitneError` with a stable ``reason``, the field, the rule and a remedy.
"""

from vitne.errors import VitneError
from vitne_client.batch_file import batch_from_csv
from vitne_client.connection import Connection
from vitne_client.elmo_file import AchievementKey, batch_from_elmo
from vitne_client.institution import BatchOutcome, Institution
from vitne_client.subscriber import Held, Registered, Subscriber

__all__ = [
    "AchievementKey",
    "BatchOutcome",
    "Connection",
    "Held",
    "Institution",
    "Registered",
    "Subscriber",
    "VitneError",
    "batch_from_csv",
    "batch_from_elmo",
]
