"""Names and values in the form that MLflow takes."""

import getpass
import posixpath
import re

PARAM_LENGTH = 6000
TAG_LENGTH = 8000
NAME_LENGTH = 250


def experiment_name(study: str) -> str:
    return f"hadnas/{study}"


def mlflow_name(name: str) -> str:
    """`name` in the characters MLflow allows: letters, digits, `_ - . /` and spaces; the last 250 of them."""
    return posixpath.normpath(re.sub(r"[^\w./ -]", "-", name)).lstrip("./")[-NAME_LENGTH:] or "-"


def clip(value: object, length: int) -> str:
    text = str(value)
    return text if len(text) <= length else text[: length - 1] + "…"


def without_password(uri: str) -> str:
    return re.sub(r"([?&]\w*password=)[^&]*", r"\1***", re.sub(r"(://[^:/@]*):.*@", r"\1:***@", uri))


def user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        return "unknown"
