"""The collector's one family of errors; every message says what to do next."""


class CollectorError(Exception):
    """Something given to the collector cannot be used; the message is for the user."""


class BundleError(CollectorError):
    """An evidence bundle is missing, incomplete, altered or of another version."""


class RuleError(CollectorError):
    """A rule file cannot be loaded; the message names file, place and the remedy."""


class EventTextError(CollectorError):
    """A line is not an event in text form."""


class SuppressionError(CollectorError):
    """A file of suppressions cannot be used; the message names file, line and the remedy."""


class SearchError(CollectorError):
    """Runs cannot be searched for as asked."""
