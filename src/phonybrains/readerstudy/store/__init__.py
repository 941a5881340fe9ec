"""The database of a reader study: who reads, what they answered, and an audit log that shows any change."""

from .opening import open_store as open_store
from .readers import Reader as Reader
from .store import Store as Store
