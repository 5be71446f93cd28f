"""The addresses of servers that serve models: whether one can be used, and shown."""

from ipaddress import ip_address
from urllib.parse import urlsplit


def base_url_problem(url: str) -> str:
    """Return what is wrong with the form of *url*, or nothing; does not quote it.

    What is no address may be a key that was put into the wrong variable.
    """
    try:
        parts = urlsplit(url)
        # Reading the port is what checks it.
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    else:
        usable = usable and parts.scheme in {"http", "https"} and not url.split()[1:]

    if usable:
        return ""

    return "is no http(s) address, as https://HOST/v1 or http://127.0.0.1:8000/v1"


def shown_url(url: str) -> str:
    """Return *url* without what may be secret: a user's name and password, a query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an address that cannot be read"

    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=host, query="", fragment="").geturl()


def is_loopback(url: str) -> bool:
    """Tell whether the server of *url* is on this machine."""
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
