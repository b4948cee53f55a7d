"""RemoteMonitor: the logs of every epoch, sent to a server.

In: logs. Out: a POST to an address of the user's. Knows no training.
"""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
import warnings
from typing import Any

import numpy as np

from zoo_keras.callbacks.callback import Callback, Logs
from zoo_keras.errors import ConfigError

_TIMEOUT = 30  # seconds


class RemoteMonitor(Callback):
    """Send the logs of every epoch to `root + path` by HTTP.

    Args:
        root, path: the address.
        field: the name of the form's field that holds the logs as JSON.
        headers: more headers of the request.
        send_as_json: send JSON by itself, not within a form.

    Raises ConfigError for an address that is not one of http. A server that cannot be reached, or
    does not speak HTTP, is a warning. Source: https://keras.io/api/callbacks/remote_monitor.

    Example:
        >>> model.fit(x, y, callbacks=[RemoteMonitor("http://localhost:9000")])
    """

    def __init__(
        self,
        root: str = "http://localhost:9000",
        path: str = "/publish/epoch/end/",
        field: str = "data",
        headers: dict[str, str] | None = None,
        send_as_json: bool = False,
    ) -> None:
        super().__init__()
        if urllib.parse.urlsplit(root).scheme not in ("http", "https"):
            raise ConfigError(
                "RemoteMonitor: root must begin with http:// or https://. Received: "
                f"{root!r}. Pass the address of a server."
            )
        self.root, self.path, self.field = root, path, field
        self.headers, self.send_as_json = headers, send_as_json

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        sent = {"epoch": epoch, **{name: _plain(value) for name, value in (logs or {}).items()}}
        text, kind = json.dumps(sent), "application/json"
        if not self.send_as_json:
            text, kind = urllib.parse.urlencode({self.field: text}), _FORM
        headers = {"Content-Type": kind, **(self.headers or {})}
        request = urllib.request.Request(self.root + self.path, text.encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT):
                pass
        except urllib.error.HTTPError as answer:  # it was reached
            answer.close()
        except (OSError, http.client.HTTPException) as error:
            warnings.warn(
                f"Could not reach RemoteMonitor root server at {self.root}: {error}", stacklevel=4
            )


_FORM = "application/x-www-form-urlencoded"


def _plain(value: Any) -> Any:
    """A number or list that JSON can hold."""
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value
