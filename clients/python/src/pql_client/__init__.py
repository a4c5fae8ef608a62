"""Typed client of the PQL scoring service."""

from pql_client.answers import (
    Advice,
    Answer,
    Column,
    ErrorOut,
    Failed,
    Missing,
    Model,
    Reason,
    ScoreResult,
    Status,
    Task,
)
from pql_client.client import Client
from pql_client.errors import PQLServiceError
from pql_client.leads import Event, FeatureLead, Lead

__all__ = [
    "Advice",
    "Answer",
    "Client",
    "Column",
    "ErrorOut",
    "Event",
    "Failed",
    "FeatureLead",
    "Lead",
    "Missing",
    "Model",
    "PQLServiceError",
    "Reason",
    "ScoreResult",
    "Status",
    "Task",
]
