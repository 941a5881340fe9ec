"""Imports of these tests have a key of pseudonyms of their own."""

from __future__ import annotations

from tests.importing.conftest import own_key as own_key
