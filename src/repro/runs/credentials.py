"""What keeps a cluster to the user who started it: a dask scheduler does whatever a client that it lets in asks for."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distributed.security import Security

KEY, CERTIFICATE = "key.pem", "certificate.pem"


@contextmanager
def credentials(inside: Path) -> Iterator[Path]:
    """A folder in `inside` with a key and a certificate made for one cluster; it goes with the context.

    Only this user can read them. Who has them is let in, and nobody else, for a year.
    """
    from distributed.security import Security

    made = Security.temporary()  # one pair, its own authority, for client, scheduler and workers
    with TemporaryDirectory(prefix=".tls-", dir=inside.absolute()) as private:
        folder = Path(private)
        for name, text in ((KEY, made.tls_worker_key), (CERTIFICATE, made.tls_worker_cert)):
            (folder / name).touch(mode=0o600, exist_ok=False)
            (folder / name).write_text(text)
        yield folder


def security(folder: Path, spelled: Callable[[str], str] = str) -> "Security":
    """The credentials in `folder` as dask takes them; spelled: how the paths of the files are to be written."""
    from distributed.security import Security

    key, certificate = (spelled(str(folder / name)) for name in (KEY, CERTIFICATE))
    return Security(
        require_encryption=True,
        tls_ca_file=certificate,
        tls_client_key=key,
        tls_client_cert=certificate,
        tls_scheduler_key=key,
        tls_scheduler_cert=certificate,
        tls_worker_key=key,
        tls_worker_cert=certificate,
    )
