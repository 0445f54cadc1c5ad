"""The Kubernetes operator that runs Quorate clusters."""

from importlib.metadata import version
from typing import Final

VERSION: Final = version("quorate-operator")
