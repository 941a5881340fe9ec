"""The log gets a key that lies outside the database (`beginning.py`): no older version may write into it any more."""

revision, down_revision = "0004", "0003"


def upgrade() -> None:
    """The tables stay as they are."""
