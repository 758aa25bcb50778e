# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why no answer came at all, as a message (pure). Which exceptions of urllib3 there are differs by its versions: they are told by name."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.errors import (
    KubernetesError,
    Request,
    Unreachable,
)

# Numbers of OpenSSL: x509_vfy.h
_EXPIRED, _NOT_YET, _OTHER_NAME = 10, 9, 62
# Nothing was sent yet.
_BEFORE = {
    "NewConnectionError",
    "ConnectTimeoutError",
    "NameResolutionError",
    "ConnectionRefusedError",
    "gaierror",
    "ProxyError",
}
_CLIENT_REFUSED = re.compile(
    r"ALERT_(UNKNOWN_CA|BAD_CERTIFICATE|CERTIFICATE_\w+|UNSUPPORTED_CERTIFICATE|ACCESS_DENIED)"
)


def chain(exc: BaseException) -> Iterator[BaseException]:
    """An exception and all that it came from, by whatever way the libraries keep that."""
    found: list[BaseException] = []
    rest: list[BaseException] = [exc]
    while rest:
        one = rest.pop(0)
        found.append(one)
        for other in (one.__cause__, one.__context__, getattr(one, "reason", None), *getattr(one, "args", ())):
            if isinstance(other, BaseException) and other not in found and other not in rest:
                rest.append(other)
    return iter(found)


def explain_no_answer(exc: BaseException, request: Request) -> KubernetesError:
    """What an exception of the connection means. What time can mend is ``Unreachable``."""
    found = list(chain(exc))
    names = {kind.__name__ for one in found for kind in type(one).__mro__}
    text = " ".join(str(exc).split())
    server = request.server
    permanent = _tls(found, server) or _settings(names, text, server)
    if permanent:
        return KubernetesError(f"Cannot {request}: {permanent} Nothing was done.")
    sent = not names & _BEFORE
    if "ProxyError" in names:
        why = f"the proxy on the way to {server} does not let it through ({_innermost(found)}); look at kubernetes.proxy and kubernetes.no_proxy"
    elif names & {"NameResolutionError", "gaierror"}:
        why = f"the name in {server} cannot be resolved on this host"
    elif "ConnectionRefusedError" in names:
        why = f"nothing answers at {server} (connection refused): the API server is not running, or is elsewhere"
    elif names & {"ConnectTimeoutError", "ReadTimeoutError", "TimeoutError"}:
        why = f"{server} did not answer in time"
    elif any(isinstance(one, OSError) and one.errno in (101, 113) for one in found):
        why = f"there is no route to {server} from this host"
    elif not any(isinstance(one, OSError) or type(one).__module__.startswith(("urllib3", "http.")) for one in found):
        return KubernetesError(f"Cannot {request} at {server}: {_innermost(found)}.")
    else:
        why = f"the connection to {server} broke ({_innermost(found)})"
    return Unreachable(f"Cannot {request}: {why}.", sent)


def _tls(found: list[BaseException], server: str) -> Optional[str]:
    text = " ".join(str(one) for one in found)
    verify = next((one for one in found if isinstance(one, ssl.SSLCertVerificationError)), None)
    if verify is not None or "CERTIFICATE_VERIFY_FAILED" in text:
        code = verify.verify_code if verify is not None else 0
        said = verify.verify_message if verify is not None else "certificate verify failed"
        if code == _OTHER_NAME:
            return (
                f"the certificate of {server} is for another name ({said.rstrip('.')}). Reach it by a name that is in the certificate, or set "
                "tls-server-name in the kubeconfig."
            )
        if code in (_EXPIRED, _NOT_YET):
            return f"the certificate of {server} is out of its time ({said}): it was not renewed, or this host's clock is wrong."
        return (
            f"the certificate of {server} is not signed by an authority that is trusted here ({said}). Give the cluster's own by kubernetes.ca_cert "
            "(K8S_AUTH_SSL_CA_CERT), or certificate-authority-data in the kubeconfig."
        )
    if _CLIENT_REFUSED.search(text):
        return (
            f"{server} refuses the client certificate: it has expired, or its authority is not the cluster's. Look at kubernetes.client_cert, "
            "or make the kubeconfig anew."
        )
    if "WRONG_VERSION_NUMBER" in text or "HTTP_REQUEST" in text:
        return f"{server} speaks no TLS: it is http, or another service."
    if any(isinstance(one, ssl.SSLError) for one in found) and not isinstance(found[-1], socket.timeout):
        if "EOF" in text or "timed out" in text:
            return None
        return f"no TLS connection with {server} can be made ({_innermost(found)})."
    return None


def _settings(names: set[str], text: str, server: str) -> Optional[str]:
    if "TLS CA certificate bundle" in text or (names & {"FileNotFoundError", "PermissionError", "IsADirectoryError"}):
        return f"a file of certificates or keys for {server} cannot be read ({text}). Look at kubernetes.ca_cert, client_cert and client_key."
    if names & {"LocationValueError", "LocationParseError", "URLSchemeUnknown", "MissingSchema", "InvalidURL"}:
        return f"kubernetes.host: {server!r} is no URL. Write it like https://10.0.0.1:6443."
    return None


def _innermost(found: list[BaseException]) -> str:
    last = next((one for one in reversed(found) if str(one)), found[0])
    message = " ".join(str(last).split())
    return f"{type(last).__name__}: {message[:200]}"
