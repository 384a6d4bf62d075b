"""The sandbox's one family of errors; every message says what to do next."""


class SandboxError(Exception):
    """Something the sandbox was given or needs is not as it must be; the message is for the user."""


class UsageError(SandboxError):
    """What the user asked for cannot be done as asked (exit code 2)."""


class IntakeError(UsageError):
    """The package or file cannot be fetched or is not an artefact we can run."""


class UnavailableError(IntakeError):
    """The package may well be had at another time, or on another machine: an index, a disk or a setting is at fault."""


class ProfileError(UsageError):
    """A profile file is wrong; the message names file, line and the nearest valid key."""


class SweepsFileError(UsageError):
    """The file of sweeps is wrong; the message names file, line and the nearest valid key."""


class ImageError(SandboxError):
    """The base root filesystem is missing and cannot be built."""


class PodError(SandboxError):
    """The pod cannot be started on this machine."""


class ConfigurationError(UsageError):
    """The configuration is wrong; the message names the key, or file and line."""


class DatabaseUnavailableError(SandboxError):
    """The database does not answer, or is not one of ours."""


class EvidenceError(SandboxError):
    """The evidence store cannot do what it was asked for."""


class EvidenceMissingError(EvidenceError):
    """No evidence of the run is stored: it was removed, or never came."""


class EvidenceDamagedError(EvidenceError):
    """What is stored is not what was put there; no report is made from it."""


class SweepBusyError(SandboxError):
    """The sweep is running somewhere already."""


class SweepLostError(SandboxError):
    """Another process has taken the sweep over."""


class LaneFullError(SandboxError):
    """Too much waits already: the same request may be taken later."""


class UploadRemovedError(UsageError):
    """A file that was uploaded, and is to be run again, is not kept any more."""


class KeyReusedError(SandboxError):
    """An idempotency key came with another request before."""


class TokenError(UsageError):
    """A token cannot be made or revoked as asked."""


class RedisServerError(SandboxError):
    """No Redis can be started on this machine."""


class WebhookError(UsageError):
    """A webhook's URL is not one that the configuration allows."""
