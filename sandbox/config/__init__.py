"""The one configuration of everything that runs as a service: a file, and the environment over it."""

from sandbox.config.load import load_configuration
from sandbox.config.model import ApiPlan, Configuration, QueuePlan, TrustedProxy, WebhookReceiver, WorkerPlan

__all__ = [
    "ApiPlan",
    "Configuration",
    "QueuePlan",
    "TrustedProxy",
    "WebhookReceiver",
    "WorkerPlan",
    "load_configuration",
]
